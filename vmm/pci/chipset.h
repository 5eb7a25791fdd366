// The functions of Intel's Q35 chip set that a PC's firmware and ACPI know: host bridge (MCH, at
// 00:00.0) and LPC bridge (ICH9, at 00:1f.0). Device ids are theirs, so that Linux, SeaBIOS and
// OVMF take them for what they are. (Data sheets: Intel 316966, 3 Series chip sets; 316972, ICH9.)
//
// A register that is live moves or switches something the moment it is written. The others named
// here only keep what is written; what is not named reads 0.
//
//   host bridge  060 PCIEXBAR (live)   090-096 PAM (live)   09d SMRAM  09e ESMRAMC  0b0 TOLUD
//   LPC bridge   040 PMBASE (live)     044 ACPI_CNTL (live) 060-063, 068-06b PIRQx_ROUT (live)
//                080 LPC I/O decode    0a0 GEN_PMCON        0f0 RCBA (live)
//
// Not implemented: SMM (SMRAM hides nothing), remapping of RAM, the registers behind RCBA except
// for the DxxIR, which say what PirqOf does and cannot be changed.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "vmm/bus/io_bus.h"
#include "vmm/bus/io_handler.h"
#include "vmm/pci/pci_function.h"
#include "vmm/pci/pci_root.h"

namespace gemel::pci {

// What a guest wants of 0xC0000-0xFFFFF: PAM0 to PAM6 as they lie in the registers. PAM0 bits 5:4
// are for 0xF0000-0xFFFFF; PAMn bits 1:0 for the first and 5:4 for the second 16 KiB of the n-th
// 32 KiB from 0xC0000. Bit 0 of each pair: reads come from RAM (else from the ROM), bit 1: writes
// go to RAM.
using PamRegisters = std::array<std::uint8_t, 7>;

// The machine's side of live registers that are not about PCI itself.
class ChipsetEvents {
 public:
  virtual ~ChipsetEvents() = default;
  // Called on a vCPU thread with the Root's lock held, whenever a PAM register may have changed,
  // and at reset.
  virtual void OnPam(const PamRegisters& pam) = 0;
};

class HostBridge final : public Function {
 public:
  static constexpr std::size_t kPciExBar = 0x60;
  static constexpr std::size_t kPam = 0x90;
  static constexpr std::uint64_t kPciExBarEnable = 1;

  // All outlive it. `events` may be null.
  HostBridge(Root* root, IoBus* memory, IoHandler* ecam, ChipsetEvents* events);

 protected:
  void OnWritten(std::size_t offset, std::size_t size) override;
  void OnReset() override;

 private:
  void PlaceEcam();
  void TellPam();

  Root* const root_;
  ChipsetEvents* const events_;
  Windows::Window* const ecam_;
};

class LpcBridge final : public Function {
 public:
  static constexpr Devfn kDevfn = MakeDevfn(0x1f, 0);
  static constexpr std::size_t kPmBase = 0x40;
  static constexpr std::size_t kAcpiControl = 0x44;
  static constexpr std::uint8_t kAcpiEnable = 0x80;
  static constexpr std::size_t kPirqA = 0x60;
  static constexpr std::size_t kPirqE = 0x68;
  static constexpr std::size_t kRcba = 0xf0;

  struct Wiring {
    Root* root = nullptr;
    IoBus* memory = nullptr;
    IoBus* ports = nullptr;
    IoHandler* pm = nullptr;    // what lies at PMBASE; null: nothing
    std::uint64_t pm_size = 0;  // in ports
  };
  // All outlive it.
  explicit LpcBridge(const Wiring& wiring);

 protected:
  void OnWritten(std::size_t offset, std::size_t size) override;
  void OnReset() override;

 private:
  // The chip set's own registers behind RCBA.
  class RootComplexRegisters final : public IoHandler {
   public:
    static constexpr std::uint64_t kSize = 0x4000;
    std::string_view name() const override { return "rcrb"; }
    void Read(std::uint64_t offset, std::span<std::byte> data) override;
    void Write(std::uint64_t, std::span<const std::byte>) override {}
  };
  void Follow();

  Root* const root_;
  const std::uint64_t pm_size_;
  RootComplexRegisters root_complex_;
  Windows::Window* const pm_;  // null: nothing lies at PMBASE
  Windows::Window* const rcba_;
};

}  // namespace gemel::pci
