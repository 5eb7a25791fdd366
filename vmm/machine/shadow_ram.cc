#include "vmm/machine/shadow_ram.h"

#include <algorithm>
#include <tuple>

#include "base/log.h"

namespace gemel {
namespace {

constexpr std::uint64_t kPiece = 0x4000;         // 12 of these,
constexpr std::uint64_t kLastPieceAt = 0x30000;  // and one of 64 KiB
constexpr std::size_t kLastPiece = kLastPieceAt / kPiece;

}  // namespace

bool ShadowRam::Run::operator==(const Run& other) const {
  return range.start.value == other.range.start.value && range.size == other.range.size &&
         read_only == other.read_only;
}

ShadowRam::ShadowRam(const GuestMemory* memory, MemorySlots* slots)
    : memory_(memory), slots_(slots) {}

void ShadowRam::Follow() {
  put_off_ = false;
  ShowRuns();
}

// PAM0 bits 5:4 are the last piece; PAMn bits 1:0 and 5:4 two pieces from the beginning on (82G33
// datasheet, 5.1.14).
void ShadowRam::OnPam(const pci::PamRegisters& pam) {
  access_[kLastPiece] = pam[0] >> 4 & kAll;
  for (std::size_t i = 1; i < pam.size(); ++i) {
    access_[2 * i - 2] = pam[i] & kAll;
    access_[2 * i - 1] = pam[i] >> 4 & kAll;
  }
  if (!put_off_) ShowRuns();
}

std::size_t ShadowRam::PieceOf(std::uint64_t offset) {
  return std::min<std::uint64_t>(offset / kPiece, kLastPiece);
}

ShadowRam::Access ShadowRam::AccessAt(std::uint64_t offset) const {
  return static_cast<Access>(access_[PieceOf(offset)].load());
}

// Neighbours that are alike are one run: a slot.
std::vector<ShadowRam::Run> ShadowRam::WantedRuns() const {
  std::vector<Run> runs;
  for (std::size_t piece = 0; piece < kPieces; ++piece) {
    const std::uint64_t begin = kRange.start.value + piece * kPiece;
    const std::uint64_t size = piece == kLastPiece ? kRange.size - kLastPieceAt : kPiece;
    const std::uint8_t access = access_[piece];
    if ((access & kReads) == 0) continue;
    const bool read_only = access == kReads;
    Run* const last = runs.empty() ? nullptr : &runs.back();
    if (last != nullptr && last->read_only == read_only &&
        last->range.start.value + last->range.size == begin) {
      last->range.size += size;
    } else {
      runs.push_back({{GuestAddress{begin}, size}, read_only});
    }
  }
  return runs;
}

void ShadowRam::ShowRuns() {
  std::vector<Run> wanted = WantedRuns();
  for (std::uint32_t slot = 0; slot < shown_.size(); ++slot) {
    if (shown_[slot].range.size == 0 || std::erase(wanted, shown_[slot]) > 0) continue;
    if (slots_->Hide(slot)) shown_[slot] = {};
  }
  for (const Run& run : wanted) {
    const auto free = std::ranges::find(shown_, 0, [](const Run& one) { return one.range.size; });
    if (free == shown_.end()) return;
    const auto slot = static_cast<std::uint32_t>(free - shown_.begin());
    if (const Status done = slots_->Show(slot, run.range, run.read_only)) {
      *free = run;
    } else {
      LOG(kWarning, "pam", "{:#x}: {}: slow from now on", run.range.start.value,
          done.error().message);
    }
  }
}

void ShadowRam::Read(std::uint64_t offset, std::span<std::byte> data) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = std::byte{0xff};
    if ((AccessAt(offset + i) & kReads) == 0) continue;
    std::ignore =
        memory_->ReadBytes(GuestAddress{kRange.start.value + offset + i}, data.subspan(i, 1));
  }
}

void ShadowRam::Write(std::uint64_t offset, std::span<const std::byte> data) {
  for (std::size_t i = 0; i < data.size(); ++i) {
    if ((AccessAt(offset + i) & kWrites) == 0) continue;
    std::ignore =
        memory_->WriteBytes(GuestAddress{kRange.start.value + offset + i}, data.subspan(i, 1));
  }
}

}  // namespace gemel
