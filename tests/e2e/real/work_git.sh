# Recorded by test_real.py: init, commit, clone, gc; every step is a family of short processes.
# SPDX-License-Identifier: MIT
set -e
cd "$1"
rm -rf origin copy
git init -q -b main origin
cd origin
for i in 1 2 3 4 5 6 7 8; do
	seq "$i" "$((i * 2000))" >"file$i"
	git add .
	git commit -q -m "commit $i"
done
git repack -q -a -d
git gc -q
cd ..
git clone -q origin copy 2>&1
cd copy
git log --format='%H %s'
git fsck 2>&1
git grep -c 77 | sort
