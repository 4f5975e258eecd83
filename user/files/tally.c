/* SPDX-License-Identifier: Apache-2.0 */
#include "files/tally.h"

#include <assert.h>

#include "base/sys.h"

const char *lost_name(enum lost_reason reason)
{
	static const char *const names[] = {
		[LOST_ROTATED_AWAY] = "rotated_away", [LOST_TRUNCATED] = "truncated",
		[LOST_HELD_CAP] = "held_cap",         [LOST_GZ_CORRUPT] = "gz_corrupt",
		[LOST_VANISHED] = "vanished",
	};
	_Static_assert(ARRAY_SIZE(names) == LOST_REASONS, "each reason has its name");

	assert((size_t)reason < ARRAY_SIZE(names));
	return names[reason];
}

void tally_add(struct tally *to, const struct tally *from)
{
	to->written_bytes += from->written_bytes;
	to->uncounted_bytes += from->uncounted_bytes;
	to->read_bytes += from->read_bytes;
	to->delivered_bytes += from->delivered_bytes;
	to->records += from->records;
	to->malformed_lines += from->malformed_lines;
	to->truncations += from->truncations;
	to->skipped_bytes += from->skipped_bytes;
	to->hole_bytes += from->hole_bytes;
	for (int i = 0; i < LOST_REASONS; i++) {
		to->lost[i].bytes += from->lost[i].bytes;
		to->lost[i].events += from->lost[i].events;
	}
}

void tally_sub(struct tally *from, const struct tally *t)
{
	from->written_bytes -= t->written_bytes;
	from->uncounted_bytes -= t->uncounted_bytes;
	from->read_bytes -= t->read_bytes;
	from->delivered_bytes -= t->delivered_bytes;
	from->records -= t->records;
	from->malformed_lines -= t->malformed_lines;
	from->truncations -= t->truncations;
	from->skipped_bytes -= t->skipped_bytes;
	from->hole_bytes -= t->hole_bytes;
	for (int i = 0; i < LOST_REASONS; i++) {
		from->lost[i].bytes -= t->lost[i].bytes;
		from->lost[i].events -= t->lost[i].events;
	}
}
