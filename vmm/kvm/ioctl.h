// System calls on KVM's descriptors, and the variable-length structures some of them take. Private
// to vmm/kvm.
#pragma once
#include <linux/stddef.h>
// Before <linux/kvm.h>: this macro wraps an array of no length in a struct that is empty, which in
// C++ has a size, so that every structure with one, and every ioctl number made of it, came out
// wrong.
#undef __DECLARE_FLEX_ARRAY
// NOLINTNEXTLINE(bugprone-reserved-identifier): the kernel's name
#define __DECLARE_FLEX_ARRAY(type, name) type name[]
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace gemel::kvm {

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_msrs) == 8 && sizeof(kvm_xsave) == 4096);

// ioctl(2), again if a signal cut it short. Never for KVM_RUN, where EINTR is an answer.
template <class Argument>
int Ioctl(int fd, unsigned long request, Argument argument) {
  int result = 0;
  do {
    result = ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

// The same with the errno as an error that begins with `what`.
template <class Argument>
Result<int> CheckedIoctl(int fd, unsigned long request, Argument argument, std::string_view what) {
  const int result = Ioctl(fd, request, argument);
  if (result < 0) return ErrnoError(errno, what);
  return result;
}

// A `Header` whose last member is an array of `count` entries (struct kvm_cpuid2 and its like).
template <class Header, class Entry>
class WithEntries {
 public:
  explicit WithEntries(std::size_t count)
      : bytes_(sizeof(Header) + count * sizeof(Entry)), count_(count) {}

  // SAFETY: operator new aligns for both, both are trivial, and bytes_ has room for all.
  Header* header() { return reinterpret_cast<Header*>(bytes_.data()); }
  std::span<Entry> entries() {
    return {reinterpret_cast<Entry*>(bytes_.data() + sizeof(Header)), count_};
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t count_;
};

using CpuidList = WithEntries<kvm_cpuid2, kvm_cpuid_entry2>;
using MsrList = WithEntries<kvm_msrs, kvm_msr_entry>;

}  // namespace gemel::kvm
