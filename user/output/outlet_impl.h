/* SPDX-License-Identifier: Apache-2.0 */
/* The outlet's inside, shared by outlet.c (batches) and outlet_change.c (other sinks). */
#ifndef OUTPUT_OUTLET_IMPL_H
#define OUTPUT_OUTLET_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "output/outlet.h"
#include "output/sink.h"

/* A sink, and what it was given. */
struct outlet_sink {
	struct outlet *o;
	struct sink *sink;
	uint64_t given;
	atomic_uint_fast64_t answered; /* acknowledged, or handed back */
	/* Of one that was removed: what it could not deliver is collected, in its order, while its
	 * thread runs by that alone. */
	atomic_bool leaving;
	struct batch **back; /* batches */
	unsigned n_back;
	struct outlet_sink *next;
};

/* What the slowest sink takes: bytes in ns of work, halved now and then. */
struct pace {
	uint64_t bytes;
	int64_t busy_ns, last_ns;
};

struct outlet {
	struct outlet_sink **sinks;
	size_t n_sinks;
	struct outlet_sink *leaving; /* removed: they still deliver, or their threads do not end */
	bool changing;               /* nothing is handed on before those have delivered */
	size_t n_old;                /* of the sinks those that were there before the change */
	int64_t patience_ns;         /* until then */
	struct batch *pool, *current;
	unsigned out, batches;
	enum encode_format format;
	size_t batch_bytes, fill_bytes; /* at most; now */
	size_t longest_line;
	struct pace pace;
	int fd;
	atomic_bool any, any_lost;
	atomic_int failed;
	pthread_mutex_t lock;
	struct batch *acked;    /* this and on: under lock */
	unsigned n_acked, want; /* want 0: nobody waits */
};

/* Opens a sink: 0, or -errno and in why what is wrong with it. */
int outlet_sink_new(struct outlet *o, const char *spec, struct outlet_sink **ret_sink, char *why);
void outlet_sink_free(struct outlet_sink *os);
/* One sink less has b. */
void outlet_let_go(struct outlet *o, struct batch *b);
/* Sinks that were removed: those that have ended are freed, and a change is brought to its end. */
void outlet_reap(struct outlet *o);

#endif
