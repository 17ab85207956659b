// SPDX-License-Identifier: GPL-2.0
/*
 * Measures DPDK's rte_acl for ctrfw-bench, which starts it: rte_acl FILE CPU.
 * FILE has rules and headers (see encode() in rust/bench/src/peer.rs). It says
 * "built SECONDS BYTES" or "failed WHY", and then answers each line
 * "MODE ALGORITHM BURST FROM COUNT" with the nanoseconds that it took.
 *
 * The modes are those of rust/bench/src/engine.rs, and loop alike.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <rte_acl.h>
#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_vect.h>

#define SHORT 64u
#define EVICT (8 << 20)
#define MAX_FIELDS 11
#define MAX_BURST 16
#define MAX_COLD 1024
/* Seconds of the processor after which building is given up. */
#define PATIENCE 60

/* What rte_acl reads of a packet: a byte, then groups of four. */
struct header4 {
	uint8_t proto;
	uint32_t from, to;
	uint16_t sport, dport;
};

struct header6 {
	uint8_t proto;
	uint32_t from[4], to[4];
	uint16_t sport, dport;
};

RTE_ACL_RULE_DEF(rule, MAX_FIELDS);

static const uint8_t *input;
static int v6;
static uint32_t headers;
static uint8_t *trace;
static size_t stride;
static struct rte_acl_ctx *ctx;
static uint64_t evicted[EVICT / 8];

static void fail(const char *why)
{
	printf("failed rte_acl: %s\n", why);
	fflush(stdout);
	exit(0);
}

/* A value that the compiler does not know. */
static uint32_t opaque(uint32_t value)
{
	asm volatile("" : "+r"(value) : : "memory");
	return value;
}

static void take(void *to, size_t len)
{
	memcpy(to, input, len);
	input += len;
}

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static size_t allocated(void)
{
	struct rte_malloc_socket_stats stats;

	if (rte_malloc_get_socket_stats(0, &stats) < 0)
		return 0;
	return stats.heap_allocsz_bytes;
}

static const void *read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *bytes;
	long size;

	if (!file || fseek(file, 0, SEEK_END) < 0)
		fail("cannot open the file");
	size = ftell(file);
	rewind(file);
	bytes = malloc(size);
	if (!bytes || fread(bytes, 1, size, file) != (size_t)size)
		fail("cannot read the file");
	fclose(file);
	return bytes;
}

static void define(struct rte_acl_config *config)
{
	int words = v6 ? 4 : 1, field = 0, word;
	size_t from = v6 ? offsetof(struct header6, from) : offsetof(struct header4, from);
	size_t port = v6 ? offsetof(struct header6, sport) : offsetof(struct header4, sport);

	memset(config, 0, sizeof(*config));
	config->num_categories = 1;
	config->defs[field] = (struct rte_acl_field_def){
		.type = RTE_ACL_FIELD_TYPE_BITMASK, .size = 1,
	};
	for (field = 1, word = 0; word < 2 * words; word++, field++)
		config->defs[field] = (struct rte_acl_field_def){
			.type = RTE_ACL_FIELD_TYPE_MASK, .size = 4, .field_index = field,
			.input_index = field, .offset = from + 4 * word,
		};
	/* Both ports are one group. */
	for (word = 0; word < 2; word++)
		config->defs[field + word] = (struct rte_acl_field_def){
			.type = RTE_ACL_FIELD_TYPE_RANGE, .size = 2, .field_index = field + word,
			.input_index = field, .offset = port + 2 * word,
		};
	config->num_fields = field + 2;
}

/* An address and its length are a word and a length, or four of both. */
static int take_prefix(struct rte_acl_field *field)
{
	int words = v6 ? 4 : 1, word;
	uint8_t bytes[16], len;

	take(bytes, sizeof(bytes));
	take(&len, 1);
	for (word = 0; word < words; word++) {
		const uint8_t *at = bytes + 16 - 4 * (words - word);
		int bits = len - 32 * word;

		field[word].value.u32 = (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
		field[word].mask_range.u32 = bits < 0 ? 0 : bits > 32 ? 32 : bits;
	}
	return words;
}

static void add_rule(uint32_t index, uint32_t count)
{
	struct rule rule;
	uint16_t port[2];
	int field = 1, i;

	memset(&rule, 0, sizeof(rule));
	rule.data.category_mask = 1;
	rule.data.priority = count - index;
	rule.data.userdata = index + 1;
	field += take_prefix(rule.field + field);
	field += take_prefix(rule.field + field);
	for (i = 0; i < 2; i++, field++) {
		take(port, sizeof(port));
		rule.field[field].value.u16 = port[0];
		rule.field[field].mask_range.u16 = port[1];
	}
	take(&rule.field[0].value.u8, 1);
	take(&rule.field[0].mask_range.u8, 1);
	if (rte_acl_add_rules(ctx, (struct rte_acl_rule *)&rule, 1))
		fail("a rule is refused");
}

static void take_header(uint8_t *to)
{
	uint8_t from[16], dest[16], proto;
	uint16_t port[2];

	take(from, sizeof(from));
	take(dest, sizeof(dest));
	take(port, sizeof(port));
	take(&proto, 1);
	if (v6) {
		struct header6 *header = (struct header6 *)to;

		header->proto = proto;
		memcpy(header->from, from, 16);
		memcpy(header->to, dest, 16);
		header->sport = rte_cpu_to_be_16(port[0]);
		header->dport = rte_cpu_to_be_16(port[1]);
	} else {
		struct header4 *header = (struct header4 *)to;

		header->proto = proto;
		memcpy(&header->from, from + 12, 4);
		memcpy(&header->to, dest + 12, 4);
		header->sport = rte_cpu_to_be_16(port[0]);
		header->dport = rte_cpu_to_be_16(port[1]);
	}
}

static uint32_t classify(uint32_t at, uint32_t len, uint32_t burst, enum rte_acl_classify_alg alg)
{
	const uint8_t *data[MAX_BURST];
	uint32_t found[MAX_BURST], i;

	for (i = 0; i < burst; i++)
		data[i] = trace + stride * ((at + i) % len);
	rte_acl_classify_alg(ctx, data, found, burst, 1, alg);
	/* So that a lookup can wait for the one before it. */
	return found[0];
}

static void evict(void)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < EVICT / 8; i += 8)
		sum ^= evicted[i];
	opaque(sum);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t sample(const char *mode, enum rte_acl_classify_alg alg, uint32_t burst,
		       uint64_t from, uint32_t count)
{
	uint32_t len = strcmp(mode, "hot") ? headers : RTE_MIN(headers, SHORT);
	uint32_t at = from % len, i;
	uint32_t zero = opaque(0);
	int dependent = !strcmp(mode, "dependent");
	uint64_t start, spent, clock;

	if (!strcmp(mode, "cold")) {
		uint64_t times[MAX_COLD];

		if (count < 1 || count > MAX_COLD)
			fail("too many cold lookups");
		for (i = 0; i < count; i++) {
			evict();
			start = now(CLOCK_MONOTONIC);
			clock = now(CLOCK_MONOTONIC) - start;
			opaque(trace[stride * at]);
			start = now(CLOCK_MONOTONIC);
			opaque(classify(at, len, 1, alg));
			spent = now(CLOCK_MONOTONIC) - start;
			times[i] = spent > clock ? spent - clock : 0;
			at = (at + 1) % len;
		}
		qsort(times, count, sizeof(*times), compare);
		return times[count / 2] * count;
	}
	start = now(CLOCK_THREAD_CPUTIME_ID);
	for (i = 0; i < count; i += burst) {
		uint32_t found = classify(at, len, burst, alg);

		at += burst + (dependent ? found & zero : 0);
		if (at >= len)
			at -= len;
	}
	spent = now(CLOCK_THREAD_CPUTIME_ID) - start;
	/* A last burst may have looked up more than was asked for. */
	return spent * count / i;
}

static void check(uint32_t checked)
{
	static const enum rte_acl_classify_alg algs[] = {
		RTE_ACL_CLASSIFY_SCALAR, RTE_ACL_CLASSIFY_AVX2,
	};
	uint32_t i, alg, truth;

	for (i = 0; i < checked; i++) {
		take(&truth, sizeof(truth));
		for (alg = 0; alg < RTE_DIM(algs); alg++) {
			if (classify(i, headers, 1, algs[alg]) != truth)
				fail("it finds another rule than the linear scan");
		}
	}
}

static void build(const char *path)
{
	struct rte_acl_param param = { .name = "ctrfw", .socket_id = SOCKET_ID_ANY };
	struct rte_acl_config config;
	uint32_t lens[4], i;
	uint64_t start;
	size_t before;
	double seconds;

	input = read_file(path);
	take(lens, sizeof(lens));
	v6 = lens[0];
	headers = lens[2];
	define(&config);
	before = allocated();
	param.rule_size = RTE_ACL_RULE_SZ(config.num_fields);
	param.max_rule_num = lens[1];
	ctx = rte_acl_create(&param);
	if (!ctx)
		fail("no memory");
	for (i = 0; i < lens[1]; i++)
		add_rule(i, lens[1]);
	start = now(CLOCK_THREAD_CPUTIME_ID);
	if (rte_acl_build(ctx, &config))
		fail("rte_acl_build() fails");
	seconds = (now(CLOCK_THREAD_CPUTIME_ID) - start) / 1e9;

	stride = v6 ? sizeof(struct header6) : sizeof(struct header4);
	trace = calloc(headers, stride);
	if (!trace)
		fail("no memory");
	for (i = 0; i < headers; i++)
		take_header(trace + i * stride);
	check(lens[3]);
	printf("built %f %zu\n", seconds, allocated() - before);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const struct itimerval patience = { .it_value.tv_sec = PATIENCE }, forever = { 0 };
	char mode[16], word[16];
	uint32_t burst, count;
	uint64_t from;
	size_t i;
	char **eal = (char *[]){
		argv[0], "-l", argc == 3 ? argv[2] : "0", "--no-huge", "-m", "8192", "--no-pci",
		"--no-shconf", "--no-telemetry", "--log-level=*:error",
	};

	if (argc != 3)
		fail("usage: rte_acl FILE CPU");
	if (rte_eal_init(10, eal) < 0)
		fail("rte_eal_init() fails");
	if (rte_vect_get_max_simd_bitwidth() < RTE_VECT_SIMD_256)
		fail("no AVX2");
	for (i = 0; i < EVICT / 8; i++)
		evicted[i] = i;
	setitimer(ITIMER_PROF, &patience, NULL);
	build(argv[1]);
	setitimer(ITIMER_PROF, &forever, NULL);
	while (scanf("%15s %15s %u %lu %u", mode, word, &burst, &from, &count) == 5) {
		enum rte_acl_classify_alg alg = strcmp(word, "avx2") ? RTE_ACL_CLASSIFY_SCALAR :
			RTE_ACL_CLASSIFY_AVX2;

		if (burst < 1 || burst > MAX_BURST)
			fail("a burst has 1 to 16 headers");
		printf("%lu\n", sample(mode, alg, burst, from, count));
		fflush(stdout);
	}
	return 0;
}
