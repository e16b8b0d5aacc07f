/*
 * User-Mode Linux keeps 2696 bytes of a process's floating-point registers, and the host's kernel takes them back only
 * as many as the processor has: with AMX that is 11008. This library, loaded before libc, adds what is missing.
 * It needs no headers of libc's.
 */
#include <stdarg.h>
#include <stddef.h>

enum { PEEKTEXT = 1, PEEKDATA = 2, PEEKUSER = 3, GETREGSET = 0x4204, SETREGSET = 0x4205 };
enum { SYS_PTRACE = 101, NT_X86_XSTATE = 0x202 };

struct iovec {
	void *base;
	size_t length;
};

long syscall(long number, ...);
void *memcpy(void *to, const void *from, size_t length);
void *memset(void *at, int byte, size_t length);

/* What is added stays zero: nobody in there asked for AMX. User-Mode Linux traces its processes in one thread. */
static char registers[1 << 16] __attribute__((aligned(64)));
static size_t size;

static long widened(int pid, struct iovec *given)
{
	struct iovec whole = {registers, sizeof registers};
	if (size == 0 && syscall(SYS_PTRACE, GETREGSET, pid, NT_X86_XSTATE, &whole) == 0) {
		size = whole.length;
		memset(registers, 0, sizeof registers);
	}
	if (size <= given->length)
		return syscall(SYS_PTRACE, SETREGSET, pid, NT_X86_XSTATE, given);
	whole.length = size;
	memcpy(registers, given->base, given->length);
	return syscall(SYS_PTRACE, SETREGSET, pid, NT_X86_XSTATE, &whole);
}

long ptrace(int request, ...)
{
	va_list arguments;
	va_start(arguments, request);
	int pid = va_arg(arguments, int);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (request == SETREGSET && address == (void *)NT_X86_XSTATE)
		return widened(pid, data);
	if (request != PEEKTEXT && request != PEEKDATA && request != PEEKUSER)
		return syscall(SYS_PTRACE, request, pid, address, data);
	long word;
	long result = syscall(SYS_PTRACE, request, pid, address, &word);
	return result < 0 ? result : word;
}
