// A machine of 64 MiB to load kernels into.
#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/fakes/kernel_image.h"
#include "vmm/boot/boot.h"
#include "vmm/memory/guest_memory.h"

namespace gemel {

inline std::unique_ptr<GuestMemory> MemoryOf(std::uint64_t size) {
  const MemoryRange ranges[] = {{GuestAddress{0}, size}};
  auto memory = GuestMemory::Create(ranges, MemoryBacking::kAnonymous);
  CHECK(memory.has_value());
  return *std::move(memory);
}

class BootTest : public testing::Test {
 protected:
  Result<x86::BootState> LoadBytes(const fakes::Bytes& kernel) {
    kernel_ = fakes::FileOf(kernel);
    sources_.kernel_fd = kernel_.get();
    sources_.kernel_name = "/k";
    return boot::Load(*memory_, sources_);
  }
  // The message of the failure; "" if there was none.
  std::string ErrorOf(const fakes::Bytes& kernel) {
    const Result<x86::BootState> state = LoadBytes(kernel);
    return state ? std::string() : state.error().message;
  }
  void SetInitrd(std::uint64_t size) {
    initrd_ = fakes::FileOf({});
    CHECK(ftruncate(initrd_.get(), static_cast<off_t>(size)) == 0);
    sources_.initrd_fd = initrd_.get();
    sources_.initrd_name = "/i";
  }
  template <class T>
  T At(std::uint64_t address) {
    const auto value = memory_->Read<T>(GuestAddress{address});
    CHECK(value.has_value());
    return *value;
  }

  std::unique_ptr<GuestMemory> memory_ = MemoryOf(64 << 20);
  UniqueFd kernel_;
  UniqueFd initrd_;
  boot::BootSources sources_;
};

}  // namespace gemel
