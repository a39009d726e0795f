# Recorded by test_real.py: a C and a C++ program compiled, linked and run.
# SPDX-License-Identifier: MIT
set -e
cd "$1"
cat >c.c <<'END'
#include <stdio.h>
int main(void)
{
	return printf("C says %d\n", 42) != 10;
}
END
cat >cc.cc <<'END'
#include <algorithm>
#include <iostream>
#include <map>
#include <regex>
#include <string>
int main()
{
	std::map<std::string, int> words{{"two", 2}, {"one", 1}};
	for (auto &[word, n] : words)
		std::cout << word << n << std::regex_match(word, std::regex("t.*")) << '\n';
}
END
gcc -O2 -Wall -o c c.c
./c
g++ -std=c++17 -O1 -c cc.cc
g++ -o cc cc.o
./cc
cksum <cc.o
