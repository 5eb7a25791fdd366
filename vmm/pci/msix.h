// MSI-X of one function: vector table and pending bits as guests see them, and the interrupts that
// obey (PCIe 6.1, sections 6.1.4 and 7.7.2).
//
//   source (config, queue 0, 1 …) ── bound to ──▶ vector: {address, data, mask} ──▶ message
//
// A source is what a device triggers; which vector it uses is the driver's choice, and several may
// use one. Each source has an MsiInterrupt of its own, so that its eventfd stays the same whatever
// the driver does, and vhost can keep it.
//
// A vector sends if MSI-X is enabled, neither vector nor function is masked, and the function may
// write to memory (bus master, D0). Else triggers wait: the vector's pending bit is set, and the
// message is sent when all of this comes true. A source without a vector sends nothing and is
// never pending.
//
// The BAR: the table at 0, the pending bits at half of it. Any width and alignment works; pending
// bits take no writes.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "vmm/bus/io_handler.h"
#include "vmm/bus/msi.h"

namespace gemel::pci {

class Msix final : public IoHandler {
 public:
  static constexpr std::uint16_t kNoVector = 0xffff;
  static constexpr std::size_t kEntrySize = 16;
  static constexpr std::uint16_t kMaxVectors = 2048;

  // Every source is bound to no vector, every vector masked. `name` is for messages. The allocator
  // outlives it. REQUIRES: 1 <= vectors <= kMaxVectors.
  static Result<std::unique_ptr<Msix>> Create(std::string name, MsiAllocator* allocator,
                                              std::uint16_t vectors, std::uint16_t sources);

  std::uint16_t vectors() const { return vectors_; }
  std::uint32_t pending_offset() const { return pending_offset_; }
  std::uint64_t bar_size() const { return std::uint64_t{pending_offset_} * 2; }

  // ---- the device's side: any thread, no lock
  // Whether the guest has MSI-X enabled. If not, the function interrupts by its pin.
  bool enabled() const { return enabled_.load(std::memory_order_acquire); }
  void Trigger(std::uint16_t source);
  // For a kernel data path; constant.
  int event_fd(std::uint16_t source) const { return sources_[source].msi->event_fd(); }

  // ---- the driver's choice: any thread
  // A vector that the table does not have is none.
  void Bind(std::uint16_t source, std::uint16_t vector) EXCLUDES(mutex_);
  std::uint16_t vector(std::uint16_t source) const {
    return sources_[source].vector.load(std::memory_order_acquire);
  }

  // ---- the function's side
  struct Control {
    bool enabled = false;
    bool masked = false;     // Function Mask
    bool may_write = false;  // bus master and in D0
    bool operator==(const Control&) const = default;
  };
  void SetControl(const Control& control) EXCLUDES(mutex_);
  // The table as new: all masked, nothing pending. Bindings and control stay.
  void Reset() EXCLUDES(mutex_);

  // IoHandler: the BAR.
  std::string_view name() const override { return name_; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override EXCLUDES(mutex_);
  void Write(std::uint64_t offset, std::span<const std::byte> data) override EXCLUDES(mutex_);

 private:
  struct Source {
    std::unique_ptr<MsiInterrupt> msi;
    std::atomic<std::uint16_t> vector{kNoVector};
    bool sending = false;  // it has a message; guarded by the mutex
  };

  Msix(std::string name, std::uint16_t vectors, std::uint16_t sources);
  bool SendsLocked(std::uint16_t vector) const REQUIRES(mutex_);
  void ApplyLocked(Source& source) REQUIRES(mutex_);
  void ApplyVectorsLocked(std::uint16_t first, std::uint16_t last) REQUIRES(mutex_);
  void ResetTableLocked() REQUIRES(mutex_);
  std::byte PendingByteLocked(std::uint64_t index) const REQUIRES(mutex_);

  const std::string name_;
  const std::uint16_t vectors_;
  const std::uint32_t pending_offset_;
  std::vector<Source> sources_;  // as many as ever
  std::atomic<bool> enabled_{false};

  Mutex mutex_;
  Control control_ GUARDED_BY(mutex_);
  std::vector<std::byte> table_ GUARDED_BY(mutex_);
};

}  // namespace gemel::pci
