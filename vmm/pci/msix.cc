#include "vmm/pci/msix.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "base/load_le.h"
#include "base/log.h"

namespace gemel::pci {
namespace {

constexpr std::size_t kEntryAddress = 0;
constexpr std::size_t kEntryData = 8;
constexpr std::size_t kEntryControl = 12;
constexpr std::byte kEntryMasked{1};
constexpr std::uint32_t kMinHalf = 2048;  // of the BAR, which then is a page

// Which bits of an entry's byte can be written: the address is of a dword, and vector control has
// one bit.
std::byte WritableBits(std::size_t byte_of_entry) {
  if (byte_of_entry == kEntryAddress) return std::byte{0xfc};
  if (byte_of_entry == kEntryControl) return kEntryMasked;
  return byte_of_entry > kEntryControl ? std::byte{0} : std::byte{0xff};
}

}  // namespace

Result<std::unique_ptr<Msix>> Msix::Create(std::string name, MsiAllocator* allocator,
                                           std::uint16_t vectors, std::uint16_t sources) {
  CHECK(vectors >= 1 && vectors <= kMaxVectors);
  std::unique_ptr<Msix> msix(new Msix(std::move(name), vectors, sources));
  for (Source& source : msix->sources_) {
    auto msi = allocator->CreateMsi();
    if (!msi) return WithContext(std::move(msi).error(), msix->name_ + ": MSI-X");
    source.msi = *std::move(msi);
  }
  return msix;
}

Msix::Msix(std::string name, std::uint16_t vectors, std::uint16_t sources)
    : name_(std::move(name)),
      vectors_(vectors),
      pending_offset_(std::max(kMinHalf, std::bit_ceil(std::uint32_t{vectors} * 16))),
      sources_(sources) {
  const MutexLock lock(mutex_);
  ResetTableLocked();
}

void Msix::Trigger(std::uint16_t source) {
  Source& triggered = sources_[source];
  if (triggered.vector.load(std::memory_order_acquire) != kNoVector) triggered.msi->Trigger();
}

// ---- what decides whether a message is sent -----------------------------------------------------

void Msix::Bind(std::uint16_t source, std::uint16_t vector) {
  if (vector >= vectors_) vector = kNoVector;
  const MutexLock lock(mutex_);
  Source& bound = sources_[source];
  const std::uint16_t before = bound.vector.exchange(vector, std::memory_order_acq_rel);
  if (vector == before) return;
  // Before the next message, and not only when the old vector went: vhost may have signalled since.
  if (before == kNoVector) bound.msi->ClearPending();
  ApplyLocked(bound);
  if (vector == kNoVector) bound.msi->ClearPending();
}

void Msix::SetControl(const Control& control) {
  const MutexLock lock(mutex_);
  if (control == control_) return;
  control_ = control;
  enabled_.store(control.enabled, std::memory_order_release);
  ApplyVectorsLocked(0, static_cast<std::uint16_t>(vectors_ - 1));
}

void Msix::Reset() {
  const MutexLock lock(mutex_);
  ResetTableLocked();
  ApplyVectorsLocked(0, static_cast<std::uint16_t>(vectors_ - 1));
  for (const Source& source : sources_) source.msi->ClearPending();
}

void Msix::ResetTableLocked() {
  table_.assign(vectors_ * kEntrySize, std::byte{0});
  for (std::size_t i = 0; i < vectors_; ++i) table_[i * kEntrySize + kEntryControl] = kEntryMasked;
}

bool Msix::SendsLocked(std::uint16_t vector) const {
  return vector != kNoVector && control_.enabled && !control_.masked && control_.may_write &&
         (table_[vector * kEntrySize + kEntryControl] & kEntryMasked) == std::byte{0};
}

void Msix::ApplyLocked(Source& source) {
  const std::uint16_t vector = source.vector.load(std::memory_order_relaxed);
  if (!SendsLocked(vector)) {
    if (std::exchange(source.sending, false)) source.msi->Withdraw();
    return;
  }
  const auto entry = std::span(table_).subspan(vector * kEntrySize, kEntrySize);
  const Status set =
      source.msi->SetMessage(LoadLe64(entry, kEntryAddress), LoadLe32(entry, kEntryData));
  source.sending = set.has_value();
  if (!set) LOG(kWarning, name_, "MSI-X vector {}: {}", vector, set.error().message);
}

void Msix::ApplyVectorsLocked(std::uint16_t first, std::uint16_t last) {
  for (Source& source : sources_) {
    const std::uint16_t vector = source.vector.load(std::memory_order_relaxed);
    if (vector >= first && vector <= last) ApplyLocked(source);
  }
}

// ---- the BAR ------------------------------------------------------------------------------------

void Msix::Read(std::uint64_t offset, std::span<std::byte> data) {
  const MutexLock lock(mutex_);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const std::uint64_t at = offset + i;
    if (at >= pending_offset_) {
      data[i] = PendingByteLocked(at - pending_offset_);
    } else {
      data[i] = at < table_.size() ? table_[at] : std::byte{0};
    }
  }
}

std::byte Msix::PendingByteLocked(std::uint64_t index) const {
  std::byte bits{0};
  for (const Source& source : sources_) {
    const std::uint16_t vector = source.vector.load(std::memory_order_relaxed);
    if (vector == kNoVector || vector / 8u != index || source.sending) continue;
    if (source.msi->pending()) bits |= std::byte{1} << vector % 8;
  }
  return bits;
}

void Msix::Write(std::uint64_t offset, std::span<const std::byte> data) {
  const MutexLock lock(mutex_);
  if (offset >= table_.size()) return;
  const std::size_t size = std::min<std::size_t>(data.size(), table_.size() - offset);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t at = offset + i;
    table_[at] = data[i] & WritableBits(at % kEntrySize);
  }
  ApplyVectorsLocked(static_cast<std::uint16_t>(offset / kEntrySize),
                     static_cast<std::uint16_t>((offset + size - 1) / kEntrySize));
}

}  // namespace gemel::pci
