// SPDX-License-Identifier: GPL-2.0
/*
 * Measures classifiers as their author published them with PextCuts, for
 * ctrfw-bench, which starts it: classifiers FILE CPU METHOD. It is built with
 * a checkout of theirs (PEERS=...), of which nothing is here.
 *
 * What it reads and says is what rte_acl.c does, and its modes loop alike.
 */
#include <sys/time.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "methods/dynamictuple/dynamictuple.h"
#include "methods/pextcuts/multipextcuts.h"

namespace {

const uint32_t SHORT = 64;
const size_t EVICT = 8 << 20;
const uint32_t MAX_COLD = 1024;
/* Seconds of the processor after which building is given up. */
const int PATIENCE = 60;

FILE *input;
uint32_t rules_num, headers;
std::vector<Trace> traces;
std::vector<uint64_t> evicted(EVICT / 8);
Classifier *classifier;

[[noreturn]] void fail(const char *why)
{
	printf("failed %s\n", why);
	fflush(stdout);
	exit(0);
}

/* A value that the compiler does not know. */
uint64_t opaque(uint64_t value)
{
	asm volatile("" : "+r"(value) : : "memory");
	return value;
}

template <typename T> T take()
{
	T value;

	if (fread(&value, sizeof(value), 1, input) != 1)
		fail("cannot read the file");
	return value;
}

/* An address of IPv4 is the last word of one of IPv6. */
uint32_t take_addr()
{
	uint8_t bytes[16];

	for (uint8_t &byte : bytes)
		byte = take<uint8_t>();
	return (uint32_t)bytes[12] << 24 | bytes[13] << 16 | bytes[14] << 8 | bytes[15];
}

uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A rule's priority is larger, the earlier it stands. */
Rule *take_rule(uint32_t index)
{
	Rule *rule = (Rule *)calloc(1, sizeof(Rule));

	for (int i = 0; i < 2; i++) {
		uint32_t addr = take_addr();
		uint8_t len = take<uint8_t>();

		rule->range[i][0] = addr;
		rule->range[i][1] = addr | (uint32_t)(0xffffffffULL >> len);
		rule->prefix_len[i] = len;
	}
	for (int i = 2; i < 4; i++)
		for (int end = 0; end < 2; end++)
			rule->range[i][end] = take<uint16_t>();
	uint8_t proto = take<uint8_t>(), mask = take<uint8_t>();
	rule->range[4][0] = proto;
	rule->range[4][1] = proto | (uint8_t)~mask;
	rule->prefix_len[4] = mask ? 8 : 0;
	rule->priority = rules_num - index;
	return rule;
}

/* Calls it as a virtual function, as its author's measurement does. */
__attribute__((noinline)) uint32_t lookup(uint32_t at)
{
	return classifier->Lookup(&traces[at], 0);
}

void evict()
{
	uint64_t sum = 0;

	for (size_t i = 0; i < EVICT / 8; i += 8)
		sum ^= evicted[i];
	opaque(sum);
}

uint64_t sample(const std::string &mode, uint64_t from, uint32_t count)
{
	uint32_t len = mode == "hot" ? std::min(headers, SHORT) : headers;
	uint32_t at = from % len;
	uint32_t zero = opaque(0);
	uint64_t start;

	if (mode == "cold") {
		std::vector<uint64_t> times;

		if (count < 1 || count > MAX_COLD)
			fail("too many cold lookups");
		times.reserve(count);
		for (uint32_t i = 0; i < count; i++) {
			evict();
			start = now(CLOCK_MONOTONIC);
			uint64_t clock = now(CLOCK_MONOTONIC) - start;
			opaque(traces[at].key[0]);
			start = now(CLOCK_MONOTONIC);
			opaque(lookup(at));
			uint64_t spent = now(CLOCK_MONOTONIC) - start;
			times.push_back(spent > clock ? spent - clock : 0);
			at = (at + 1) % len;
		}
		std::sort(times.begin(), times.end());
		return times[count / 2] * count;
	}
	start = now(CLOCK_THREAD_CPUTIME_ID);
	if (mode == "dependent") {
		for (uint32_t i = 0; i < count; i++) {
			at += 1 + (lookup(at) & zero);
			if (at >= len)
				at = 0;
		}
		opaque(at);
	} else {
		for (uint32_t i = 0; i < count; i++) {
			opaque(lookup(at));
			if (++at == len)
				at = 0;
		}
	}
	return now(CLOCK_THREAD_CPUTIME_ID) - start;
}

void build(const char *path, const std::string &method)
{
	std::vector<Rule *> rules;

	input = fopen(path, "rb");
	if (!input)
		fail("cannot open the file");
	if (take<uint32_t>())
		fail("it has no IPv6");
	rules_num = take<uint32_t>();
	headers = take<uint32_t>();
	uint32_t checked = take<uint32_t>();
	for (uint32_t i = 0; i < rules_num; i++)
		rules.push_back(take_rule(i));
	for (uint32_t i = 0; i < headers; i++) {
		Trace trace = {};

		trace.key[0] = take_addr();
		trace.key[1] = take_addr();
		trace.key[2] = take<uint16_t>();
		trace.key[3] = take<uint16_t>();
		trace.key[4] = take<uint8_t>();
		traces.push_back(trace);
	}

	if (method == "PextCuts") {
		classifier = new MultiPextCuts();
	} else if (method == "DynamicTuple") {
		DynamicTuple *tuples = new DynamicTuple();

		tuples->method_name = method;
		classifier = tuples;
	} else {
		fail("it is not known");
	}
	uint64_t start = now(CLOCK_THREAD_CPUTIME_ID);
	classifier->Create(rules, true);
	double seconds = (now(CLOCK_THREAD_CPUTIME_ID) - start) / 1e9;
	for (uint32_t i = 0; i < checked; i++) {
		uint32_t truth = take<uint32_t>();

		if (lookup(i) != (truth ? rules_num + 1 - truth : 0))
			fail("it finds another rule than the linear scan");
	}
	fclose(input);
	printf("built %f %zu\n", seconds, (size_t)classifier->MemorySize() + rules_num * sizeof(Rule));
	fflush(stdout);
}

} // namespace

int main(int argc, char **argv)
{
	const struct itimerval patience = { {}, { PATIENCE, 0 } }, forever = {};
	char mode[16], word[16];
	uint64_t from;
	uint32_t count;

	if (argc != 4)
		fail("usage: classifiers FILE CPU METHOD");
	for (size_t i = 0; i < evicted.size(); i++)
		evicted[i] = i;
	setitimer(ITIMER_PROF, &patience, NULL);
	build(argv[1], argv[3]);
	setitimer(ITIMER_PROF, &forever, NULL);
	while (scanf("%15s %15s %lu %u", mode, word, &from, &count) == 4) {
		printf("%lu\n", sample(mode, from, count));
		fflush(stdout);
	}
	return 0;
}
