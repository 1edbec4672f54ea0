/* Moves the clocks of one program: what it reads of CLOCK_REALTIME and CLOCK_BOOTTIME is so many seconds
 * on. Both numbers stand in a file, named by LAB_CLOCK, that others write while the program runs.
 * CLOCK_MONOTONIC is left alone, as it is by sleep. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile const long long *moved;

__attribute__((constructor)) static void find(void)
{
	const char *path = getenv("LAB_CLOCK");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (file < 0)
		return;
	void *page = mmap(0, 2 * sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
	close(file);
	if (page != MAP_FAILED)
		moved = page;
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int outcome = syscall(SYS_clock_gettime, clock, time);
	if (outcome == 0 && moved) {
		if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
			time->tv_sec += moved[0];
		else if (clock == CLOCK_BOOTTIME)
			time->tv_sec += moved[1];
	}
	return outcome;
}
