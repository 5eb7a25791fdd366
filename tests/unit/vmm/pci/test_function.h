// A PCI function whose every part a test chooses, and the root it is attached to.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/load_le.h"
#include "tests/fakes/fake_irq_lines.h"
#include "tests/fakes/fake_msi.h"
#include "vmm/bus/io_bus.h"
#include "vmm/pci/pci_root.h"

namespace gemel::pci {

// Answers its number, and remembers the last write.
class NumberHandler : public IoHandler {
 public:
  explicit NumberHandler(std::uint8_t number) : number_(number) {}
  std::string_view name() const override { return "number"; }
  void Read(std::uint64_t, std::span<std::byte> data) override { StoreRegister(data, number_); }
  void Write(std::uint64_t offset, std::span<const std::byte> data) override {
    last_offset = offset;
    last_written = LoadRegister(data);
  }
  std::uint64_t last_offset = ~0ull;
  std::uint64_t last_written = 0;

 private:
  const std::uint8_t number_;
};

class TestFunction : public Function {
 public:
  explicit TestFunction(std::string name = "test")
      : Function(std::move(name), {.vendor = 0x1234,
                                   .device = 0x5678,
                                   .revision = 9,
                                   .class_code = 0xabcdef,
                                   .subsystem_vendor = 0x1111,
                                   .subsystem = 0x2222}) {}
  using Function::AddBar;
  using Function::AddCapability;
  using Function::AddIntegratedExpress;
  using Function::AddIntxPin;
  using Function::AddMsix;
  using Function::AddPowerManagement;
  using Function::config;
  using Function::SetIntx;

  void OnRead(std::size_t offset, std::size_t size) override { reads.emplace_back(offset, size); }
  void OnWritten(std::size_t offset, std::size_t size) override {
    writes.emplace_back(offset, size);
  }
  void OnBarMapped(unsigned index, std::uint64_t base) override {
    mapped.emplace_back(index, base);
  }
  void OnBarUnmapped(unsigned index, std::uint64_t base) override {
    unmapped.emplace_back(index, base);
  }
  void OnReset() override { ++resets; }

  std::vector<std::pair<std::size_t, std::size_t>> reads, writes;
  std::vector<std::pair<unsigned, std::uint64_t>> mapped, unmapped;
  int resets = 0;
};

// Two buses and a root without functions.
struct TestRoot {
  IoBus memory, ports;
  testing::FakeIrqLines lines;
  Root root{&memory, &ports, &lines};

  template <class F>
  F* Attach(unsigned device, std::unique_ptr<F> function) {
    F* const attached = function.get();
    CHECK(root.Attach(MakeDevfn(device, 0), std::move(function)).has_value());
    return attached;
  }
  template <class T>
  T Get(unsigned device, std::size_t offset) {
    return root.Get<T>(At(device, offset));
  }
  template <class T>
  void Set(unsigned device, std::size_t offset, std::type_identity_t<T> value) {
    root.Set<T>(At(device, offset), value);
  }
  static ConfigAddress At(unsigned device, std::size_t offset) {
    return {.bus = 0, .devfn = MakeDevfn(device, 0), .offset = static_cast<std::uint16_t>(offset)};
  }
  // The byte that a bus answers; 0xff also if nobody does.
  static std::uint8_t Peek(const IoBus& bus, std::uint64_t address) {
    std::array<std::byte, 1> data;
    bus.Read(address, data);
    return static_cast<std::uint8_t>(data[0]);
  }
};

}  // namespace gemel::pci
