/* Has itself traced by its parent, as what is debugged does: 0 if that is let through, 1 if not, as of what has a tracer
 * already. */
#include <sys/ptrace.h>

int main(void)
{
    return ptrace(PTRACE_TRACEME, 0, 0, 0) != 0;
}
