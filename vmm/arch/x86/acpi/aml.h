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
Bytes Package(const std::vector<Bytes>& elements);
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
// What a bridge passes on: [base, base + size), fixed and positively decoded. `size` > 0.
Bytes BusNumbers(std::uint16_t first, std::uint16_t count);
Bytes IoWindow(std::uint16_t base, std::uint32_t size);
Bytes MemoryWindow32(std::uint32_t base, std::uint32_t size);
Bytes MemoryWindow64(std::uint64_t base, std::uint64_t size);

// ---- methods ------------------------------------------------------------------------------------
// Serialized, with 0 to 7 arguments.
Bytes Method(std::string_view name, unsigned arguments, const Bytes& terms);
Bytes Arg(unsigned n);
Bytes Local(unsigned n);
Bytes Path(std::string_view name);
// "33DB4D5B-…" as the buffer that ASL's ToUUID macro makes.
Bytes UuidBuffer(std::string_view uuid);
Bytes CreateDWordField(const Bytes& buffer, std::uint64_t offset, std::string_view name);
Bytes If(const Bytes& predicate, const Bytes& terms);
Bytes Else(const Bytes& terms);
Bytes Equal(const Bytes& left, const Bytes& right);
Bytes NotEqual(const Bytes& left, const Bytes& right);
Bytes And(const Bytes& left, const Bytes& right, const Bytes& target);
Bytes Or(const Bytes& left, const Bytes& right, const Bytes& target);
Bytes Store(const Bytes& value, const Bytes& target);
Bytes Return(const Bytes& value);

}  // namespace gemel::aml
