// The two ways of a CPU to configuration space: the enhanced one, which is memory (PCIe 7.2.2), and
// the ports of the first PCs (PCI 3.0, 3.2.2.3.2).
#pragma once
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/bus/io_handler.h"
#include "vmm/pci/pci_root.h"

namespace gemel::pci {

// Offset: bus in bits 27:20, device and function in 19:12, register in 11:0. An access that is not
// within a dword is made in pieces that are (7.2.2 leaves it undefined).
class EcamHandler final : public IoHandler {
 public:
  static constexpr std::uint64_t kMaxSize = 256ull << 20;  // 256 buses

  // `root` outlives it.
  explicit EcamHandler(Root* root) : root_(root) {}
  std::string_view name() const override { return "pci-ecam"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;

 private:
  Root* const root_;
};

// CONFIG_ADDRESS (four bytes at 0xcf8; other accesses are not its own) and CONFIG_DATA (any bytes
// of 0xcfc-0xcff). It reaches the first 256 bytes of each function.
// A byte at 0xcf9 is the chip set's reset register, which lies in the middle of it.
class ConfigPorts final : public IoHandler {
 public:
  static constexpr std::uint16_t kFirstPort = 0xcf8;
  static constexpr std::uint64_t kPorts = 8;

  // Both outlive it; `reset` may be null.
  ConfigPorts(Root* root, IoHandler* reset) : root_(root), reset_(reset) {}
  std::string_view name() const override { return "pci-ports"; }
  void Read(std::uint64_t offset, std::span<std::byte> data) override;
  void Write(std::uint64_t offset, std::span<const std::byte> data) override;
  void Reset() { address_ = 0; }

 private:
  static constexpr std::uint64_t kAddress = 0;
  static constexpr std::uint64_t kReset = 1;
  static constexpr std::uint64_t kData = 4;

  Root* const root_;
  IoHandler* const reset_;
  std::atomic<std::uint32_t> address_{0};
};

}  // namespace gemel::pci
