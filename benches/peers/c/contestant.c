// The Boehm-Demers-Weiser collector's side of `cargo versus`; benches/program/src has the protocol and the sizes.

#define GC_THREADS
#define _GNU_SOURCE
#include <gc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long scale = 1;

static void check(int ok, const char *what) {
	if (!ok) {
		fprintf(stderr, "wrong result: %s\n", what);
		exit(1);
	}
}

static void refuse(const char *why) {
	fprintf(stderr, "%s\nusage: PROGRAM WORKLOAD [--scale N] [--procs N] (the names: `cargo versus --list`)\n", why);
	exit(2);
}

static int log2_of_scale(void) { return 63 - __builtin_clzl(scale); }
static long size(long full) { return full / scale > 0 ? full / scale : 1; }
static void tell(const char *metric, double value) { printf("%s %.3f\n", metric, value); }

static double nanos(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static double now(void) { return nanos(CLOCK_MONOTONIC); }

static void check_tree(int depth, long nodes) { check(nodes == (1L << (depth + 1)) - 1, "nodes of a tree"); }

// Runs work(argument of worker i) on n threads.
struct job {
	void (*work)(struct job *);
	long number, workers, depth, bytes, n;
};

static void *start(void *job) {
	((struct job *)job)->work(job);
	return NULL;
}

static void run_workers(struct job job) {
	pthread_t threads[2];
	struct job jobs[2];
	for (long i = 0; i < job.workers; i++) {
		jobs[i] = job;
		jobs[i].number = i;
		check(pthread_create(&threads[i], NULL, start, &jobs[i]) == 0, "a thread");
	}
	for (long i = 0; i < job.workers; i++) {
		pthread_join(threads[i], NULL);
	}
}

typedef struct pair {
	struct pair *left, *right;
} pair;

static pair *new_pair(int depth) {
	pair *left = depth > 0 ? new_pair(depth - 1) : NULL, *right = depth > 0 ? new_pair(depth - 1) : NULL;
	pair *p = GC_MALLOC(sizeof *p);
	p->left = left;
	p->right = right;
	return p;
}

static long count_pairs(const pair *p) { return p ? 1 + count_pairs(p->left) + count_pairs(p->right) : 0; }

static void tree_work(struct job *job) {
	for (int d = 4; d <= job->depth; d += 4) {
		for (long i = job->number; i < 1L << (job->depth - d + 4); i += job->workers) {
			check_tree(d, count_pairs(new_pair(d)));
		}
	}
}

static void trees(int workers) {
	int depth = 19 - log2_of_scale() > 4 ? 19 - log2_of_scale() : 4;
	double begin = now();
	check_tree(depth + 1, count_pairs(new_pair(depth + 1)));
	pair *long_lived = new_pair(depth);
	run_workers((struct job){.work = tree_work, .workers = workers, .depth = depth});
	check_tree(depth, count_pairs(long_lived));
	tell("wall", (now() - begin) / 1e6);
}

typedef struct node {
	struct node *left, *right;
	int i, j;
} node;

static node *bottom_up(int depth) {
	node *left = depth > 0 ? bottom_up(depth - 1) : NULL, *right = depth > 0 ? bottom_up(depth - 1) : NULL;
	node *n = GC_MALLOC(sizeof *n);
	n->left = left;
	n->right = right;
	return n;
}

static void populate(node *n, int depth) {
	if (depth > 0) {
		n->left = GC_MALLOC(sizeof *n);
		n->right = GC_MALLOC(sizeof *n);
		populate(n->left, depth - 1);
		populate(n->right, depth - 1);
	}
}

static node *top_down(int depth) {
	node *n = GC_MALLOC(sizeof *n);
	populate(n, depth);
	return n;
}

static long count_nodes(const node *n) { return n ? 1 + count_nodes(n->left) + count_nodes(n->right) : 0; }

static void gcbench(void) {
	int depth = 18 - log2_of_scale() > 4 ? 18 - log2_of_scale() : 4;
	double begin = now();
	check_tree(depth + 2, count_nodes(bottom_up(depth + 2)));
	node *long_lived = top_down(depth);
	long length = 8L << depth;
	double *numbers = GC_MALLOC_ATOMIC(length * sizeof *numbers), sum = 0;
	for (long i = 0; i < length; i++) {
		numbers[i] = 0.5;
	}
	for (int d = 4; d <= depth; d += 2) {
		for (long i = 0; i < 2L << (depth + 2 - d); i++) {
			GC_reachable_here(top_down(d));
		}
		for (long i = 0; i < 2L << (depth + 2 - d); i++) {
			GC_reachable_here(bottom_up(d));
		}
		check_tree(d, count_nodes(top_down(d)));
	}
	check_tree(depth, count_nodes(long_lived));
	for (long i = 0; i < length; i++) {
		sum += numbers[i];
	}
	check(sum == length / 2.0 && long_lived->i == 0 && long_lived->j == 0, "gcbench");
	tell("wall", (now() - begin) / 1e6);
}

enum { KEPT = 8, LIVE_DEPTH = 19 };

typedef struct live {
	struct live *left, *right;
	uint64_t data[4];
} live;

static live *new_live(int depth) {
	live *left = depth > 0 ? new_live(depth - 1) : NULL, *right = depth > 0 ? new_live(depth - 1) : NULL;
	live *l = GC_MALLOC(sizeof *l);
	*l = (live){left, right, {1, 1, 1, 1}};
	return l;
}

static uint64_t live_sum(const live *l) {
	return l ? l->data[0] + l->data[1] + l->data[2] + l->data[3] + live_sum(l->left) + live_sum(l->right) : 0;
}

// The objects hold no pointers, and the collector is told so; it does not clear such memory, so this does.
static void churn(struct job *job) {
	uint64_t **kept = GC_MALLOC(KEPT * sizeof *kept), sum = 0;
	for (long i = 0; i < job->n; i++) {
		uint64_t *old = kept[i % KEPT], *object = GC_MALLOC_ATOMIC(job->bytes);
		memset(object, 0, job->bytes);
		sum += old ? *old : 0;
		*object = i;
		kept[i % KEPT] = object;
	}
	uint64_t last = job->n > KEPT ? job->n - KEPT : 0;
	check(sum == (last ? last * (last - 1) / 2 : 0), "numbers read back");
}

static void alloc(const char *what) {
	char *rest;
	long bytes = strtol(what, &rest, 10), most = (2L << 30) / bytes, workers = strcmp(rest, "-2w") ? 1 : 2;
	long n = size(most < 20000000 ? most : 20000000);
	live *l = new_live(LIVE_DEPTH);
	double begin = now(), cpu = nanos(CLOCK_PROCESS_CPUTIME_ID);
	run_workers((struct job){.work = churn, .workers = workers, .bytes = bytes, .n = n});
	tell("time", (now() - begin) / n);
	tell("cpu", (nanos(CLOCK_PROCESS_CPUTIME_ID) - cpu) / (n * workers));
	check(live_sum(l) == 4 * ((1UL << (LIVE_DEPTH + 1)) - 1), "the live heap");
}

static int by_size(const void *a, const void *b) { return *(const double *)a < *(const double *)b ? -1 : 1; }

static void ring(void) {
	long window = size(200000), n = size(2000000);
	unsigned char **messages = GC_MALLOC(window * sizeof *messages);
	double *times = malloc(n * sizeof *times);
	for (long i = 0; i < n; i++) {
		double begin = now();
		long at = i % window;
		int before = messages[at] ? messages[at][1023] : -1;
		unsigned char *message = GC_MALLOC_ATOMIC(1024);
		memset(message, (int)i & 0xff, 1024);
		messages[at] = message;
		times[i] = now() - begin;
		check(before == (i < window ? -1 : (int)((i - window) & 0xff)), "the oldest message");
	}
	qsort(times, n, sizeof *times, by_size);
	const char *names[] = {"median", "p90", "p99", "p99.9", "p99.99", "worst"};
	const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999, 1};
	for (int i = 0; i < 6; i++) {
		long at = n * shares[i];
		tell(names[i], times[at < n ? at : n - 1] / 1e3);
	}
}

int main(int argc, char **argv) {
	if (argc % 2 != 0) {
		refuse("a workload is missing");
	}
	GC_INIT();
	for (int i = 2; i < argc; i += 2) {
		long n = strtol(argv[i + 1], NULL, 10);
		if (n > 0 && !strcmp(argv[i], "--scale")) {
			scale = n;
		} else if (n <= 0 || strcmp(argv[i], "--procs")) { // `cargo versus` gives those to the collector
			refuse("not understood");
		}
	}
	const char *workload = argv[1];
	if (!strncmp(workload, "alloc-", 6) && atol(workload + 6) > 0) {
		alloc(workload + 6);
	} else if (!strcmp(workload, "trees-1w")) {
		trees(1);
	} else if (!strcmp(workload, "trees-2w")) {
		trees(2);
	} else if (!strcmp(workload, "gcbench")) {
		gcbench();
	} else if (!strcmp(workload, "ring")) {
		ring();
	} else {
		refuse("no workload has this name");
	}
	return 0;
}
