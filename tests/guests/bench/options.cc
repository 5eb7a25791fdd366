#include "tests/guests/bench/options.h"

#include "tests/guests/runtime/runtime.h"

namespace bench {
namespace {

Pattern ParsePattern(Type type) {
  if (type == Type::kNet) return guest::HasWord("rw=rx") ? Pattern::kReceive : Pattern::kTransmit;
  if (guest::HasWord("rw=randwrite")) return Pattern::kRandomWrite;
  if (guest::HasWord("rw=write")) return Pattern::kWrite;
  if (guest::HasWord("rw=read")) return Pattern::kRead;
  return Pattern::kRandomRead;
}

std::uint32_t ParseSize(Type type) {
  const std::uint64_t size = guest::Option("bs", type == Type::kNet ? 1514 : 4096);
  if (type == Type::kNet && (size < 64 || size > 65535)) Fail("bs: not from 64 to 65535");
  if (type == Type::kBlock && (size == 0 || size % 512 != 0 || size > 1 << 20))
    Fail("bs: not a multiple of 512 up to 1 MiB");
  return static_cast<std::uint32_t>(size);
}

}  // namespace

Options ParseOptions() {
  Options options{};
  options.type = guest::HasWord("device=net") ? Type::kNet : Type::kBlock;
  options.pattern = ParsePattern(options.type);
  options.mmio = !guest::HasWord("transport=pci");
  options.pci = !guest::HasWord("transport=mmio");
  options.interrupts = guest::HasWord("wait=interrupt");
  options.size = ParseSize(options.type);
  options.depth = static_cast<std::uint32_t>(guest::Option("qd", 32));
  options.milliseconds = guest::Option("ms", 1000);
  options.warm_up_milliseconds = guest::Option("warm", 200);
  options.settle_milliseconds = guest::Option("settle", 50);
  if (guest::Option("event", 1) != 0) options.features |= kEventIndex;
  if (guest::Option("indirect", 1) != 0) options.features |= kIndirect;
  if (options.depth == 0) Fail("qd: 0");
  return options;
}

const char* ToString(Pattern pattern) {
  switch (pattern) {
    case Pattern::kRandomRead:
      return "randread";
    case Pattern::kRandomWrite:
      return "randwrite";
    case Pattern::kRead:
      return "read";
    case Pattern::kWrite:
      return "write";
    case Pattern::kTransmit:
      return "tx";
    case Pattern::kReceive:
      return "rx";
  }
  return "";
}

void Fail(const char* what) {
  guest::PrintAll("FAIL: ", what, "\n");
  guest::Exit(1);
}

}  // namespace bench
