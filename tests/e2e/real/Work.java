// Recorded by test_real.py: 200 threads, mapped files, direct buffers, garbage.
// SPDX-License-Identifier: MIT
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;

public class Work {
    static long garbage(int n) {
        List<byte[]> kept = new ArrayList<>();
        long total = 0;
        for (int i = 0; i < n; i++) {
            kept.add(new byte[1000 + i % 1000]);
            if (kept.size() > 2000) {
                total += kept.get(i % 2000).length;
                kept.clear();
            }
        }
        return total;
    }

    static long threads(int n) throws Exception {
        AtomicLong total = new AtomicLong();
        List<Thread> all = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            int seed = i;
            Thread thread = new Thread(() -> total.addAndGet(garbage(2500 + seed)));
            thread.start();
            all.add(thread);
        }
        for (Thread thread : all) {
            thread.join();
        }
        return total.get();
    }

    static long mappedFile() throws Exception {
        Path path = Files.createTempFile("work", ".bin");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            ByteBuffer map = file.getChannel().map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
            for (int i = 0; i < 1 << 20; i += 4096) {
                map.put(i, (byte) (i >> 12));
            }
            long sum = 0;
            for (int i = 0; i < 1 << 20; i++) {
                sum += map.get(i);
            }
            return sum;
        } finally {
            Files.delete(path);
        }
    }

    static int directBuffers(int n) {
        int bytes = 0;
        for (int i = 0; i < n; i++) {
            bytes += ByteBuffer.allocateDirect(1 << 18).put(i, (byte) 1).capacity();
        }
        return bytes;
    }

    public static void main(String[] args) throws Exception {
        System.out.println("ready");
        System.out.println(garbage(200000));
        System.in.read();
        System.out.println(threads(200) + " " + mappedFile() + " " + directBuffers(50));
        System.gc();
        System.out.println(garbage(100000));
    }
}
