// A few terms of AML, as bytes (ACPI 6.4, chapter 20; resource descriptors: 6.4). Terms are made
// inside out: Device("COM1", Join({Name("_UID", Integer(1)), …})).
//
// Names are given as in ASL: "_SB_" or "\\_S5_", segments of exactly 4 characters joined by dots.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

namespace gemel::aml {

using Bytes = std::vector<std::uint8_t>;

Bytes Join(std::initializer_list<Bytes> terms);
void Append(Bytes& to, const Bytes& terms);

// The shortest encoding (20.2.3).
Bytes Integer(std::uint64_t value);
Bytes String(std::string_view ascii);
// "PNP0501" as the compressed id that _HID holds (ASL's EisaId macro).
Bytes EisaId(std::string_view id);
Bytes Package(std::initializer_list<Bytes> elements);
Bytes Name(std::string_view name, const Bytes& object);
Bytes Scope(std::string_view name, const Bytes& terms);
Bytes Device(std::string_view name, const Bytes& terms);

// A buffer of resource descriptors with the end tag.
Bytes ResourceTemplate(const Bytes& descriptors);
Bytes Memory32Fixed(std::uint32_t base, std::uint32_t size);
// Consumer, edge-triggered, active-high, exclusive.
Bytes EdgeInterrupt(std::uint32_t gsi);
// 16-bit decoded ports at a fixed place.
Bytes Io(std::uint16_t base, std::uint8_t size);
// An ISA interrupt: edge, active-high, exclusive.
Bytes IrqNoFlags(unsigned irq);

}  // namespace gemel::aml
