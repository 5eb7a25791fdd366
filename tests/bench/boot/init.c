// /init of the boot benchmark's guests: marks the moment it is reached, does what its argument says
// and switches the machine off. Freestanding: no C library, so that the initramfs is a few KiB and
// nothing but the kernel stands between guest entry and the mark.
//
// With the word gemel_bench_io on the kernel's command line (Linux passes init what it does not know)
// it reads from /dev/vda and /dev/hwrng instead, says so and waits for ever, so that the VMM's memory
// can be looked at.

enum { kRead = 0, kWrite = 1, kOpen = 2, kPread = 17, kMkdir = 83, kMount = 165, kReboot = 169 };
enum { kPause = 34, kIoperm = 173, kExit = 60 };
enum { kReadOnly = 0, kDirect = 040000 };

// The scratch register of COM1: both VMMs have it, Linux' 8250 driver never writes this value to a
// 16550. A write to it is an exit that the host's kvm_pio tracepoint dates exactly.
enum { kMarkPort = 0x3ff, kMarkValue = 0x47 };

static long Call(long number, long a, long b, long c, long d, long e) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
}

static void Mark(void) {
  if (Call(kIoperm, kMarkPort, 1, 1, 0, 0) != 0) return;
  __asm__ volatile("outb %b0, %w1" : : "a"(kMarkValue), "Nd"(kMarkPort));
}

static long Length(const char* text) {
  long length = 0;
  while (text[length] != 0) length++;
  return length;
}

static int Equal(const char* a, const char* b) {
  while (*a != 0 && *a == *b) a++, b++;
  return *a == *b;
}

static void Say(const char* text) { Call(kWrite, 1, (long)text, Length(text), 0, 0); }

static char block[4096] __attribute__((aligned(4096)));

// 4000 reads of 4 KiB at places all over the disk, past the page cache, and 64 KiB of randomness.
static void DoIo(void) {
  Call(kMkdir, (long)"/dev", 0755, 0, 0, 0);
  Call(kMount, (long)"dev", (long)"/dev", (long)"devtmpfs", 0, 0);
  const long disk = Call(kOpen, (long)"/dev/vda", kReadOnly | kDirect, 0, 0, 0);
  const long rng = Call(kOpen, (long)"/dev/hwrng", kReadOnly, 0, 0, 0);
  if (disk < 0) Say("gemel-bench: no /dev/vda\n");
  if (rng < 0) Say("gemel-bench: no /dev/hwrng\n");
  long done = 0;
  for (unsigned i = 0; i < 4000 && disk >= 0; i++) {
    const long place = (long)(i * 2654435761u % 16384) * 4096;  // of a disk of 64 MiB
    done += Call(kPread, disk, (long)block, sizeof block, place, 0) == (long)sizeof block;
  }
  for (int i = 0; i < 16 && rng >= 0; i++) Call(kRead, rng, (long)block, sizeof block, 0, 0);
  Say(done == 4000 && rng >= 0 ? "gemel-bench: io done\n" : "gemel-bench: io failed\n");
  for (;;) Call(kPause, 0, 0, 0, 0, 0);
}

static void PowerOff(void) {
  const long magic1 = 0xfee1dead, magic2 = 672274793, power_off = 0x4321fedc;
  Call(kReboot, magic1, magic2, power_off, 0, 0);
  const long restart = 0x01234567;  // acpi=off: no other way to end
  Call(kReboot, magic1, magic2, restart, 0, 0);
}

__attribute__((noreturn, used)) static void Main(const long* stack) {
  Mark();
  const long argc = stack[0];
  const char* const* argv = (const char* const*)(stack + 1);
  Say("gemel-bench: init\n");
  for (long i = 1; i < argc; i++) {
    if (Equal(argv[i], "gemel_bench_io")) DoIo();
  }
  PowerOff();
  for (;;) Call(kExit, 1, 0, 0, 0, 0);
}

__attribute__((naked, noreturn)) void _start(void) {
  __asm__("mov %rsp, %rdi\n\tand $-16, %rsp\n\tcall Main");
}
