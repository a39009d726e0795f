// Threads that come and go with blocks of malloc's, direct buffers and garbage; the argument is how
// many seconds.
// SPDX-License-Identifier: MIT
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import sun.misc.Unsafe;

public class Churn {
    static volatile Object sink;

    static void work(Unsafe unsafe, int seed) {
        Random random = new Random(seed);
        long[] blocks = new long[32];
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < 1500; i++) {
            int at = random.nextInt(blocks.length);
            if (blocks[at] != 0) {
                unsafe.freeMemory(blocks[at]);
            }
            blocks[at] = unsafe.allocateMemory(70000 + random.nextInt(400000));
            unsafe.putByte(blocks[at], (byte) 1);
            kept.add(new byte[2000 + random.nextInt(20000)]);
            if (kept.size() > 60) {
                kept.clear();
            }
            if (i % 500 == 0) {
                sink = ByteBuffer.allocateDirect(1 << 17);
            }
        }
        for (long block : blocks) {
            if (block != 0) {
                unsafe.freeMemory(block);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Field field = Unsafe.class.getDeclaredField("theUnsafe");
        field.setAccessible(true);
        Unsafe unsafe = (Unsafe) field.get(null);
        long end = System.nanoTime() + Long.parseLong(args[0]) * 1000000000L;
        for (int round = 0; System.nanoTime() < end; round++) {
            List<Thread> threads = new ArrayList<>();
            for (int i = 0; i < 16; i++) {
                int seed = round * 16 + i;
                Thread thread = new Thread(() -> work(unsafe, seed));
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
            if (round % 8 == 0) {
                System.gc();
            }
        }
    }
}
