#include "vmm/arch/x86/acpi/aml.h"

#include <iterator>

#include "base/check.h"

namespace gemel::aml {
namespace {

constexpr std::uint8_t kNameOp = 0x08;
constexpr std::uint8_t kBytePrefix = 0x0a;
constexpr std::uint8_t kWordPrefix = 0x0b;
constexpr std::uint8_t kDWordPrefix = 0x0c;
constexpr std::uint8_t kStringPrefix = 0x0d;
constexpr std::uint8_t kQWordPrefix = 0x0e;
constexpr std::uint8_t kScopeOp = 0x10;
constexpr std::uint8_t kBufferOp = 0x11;
constexpr std::uint8_t kPackageOp = 0x12;
constexpr std::uint8_t kMethodOp = 0x14;
constexpr std::uint8_t kDualNamePrefix = 0x2e;
constexpr std::uint8_t kMultiNamePrefix = 0x2f;
constexpr std::uint8_t kExtOpPrefix = 0x5b;
constexpr std::uint8_t kLocal0Op = 0x60;
constexpr std::uint8_t kArg0Op = 0x68;
constexpr std::uint8_t kStoreOp = 0x70;
constexpr std::uint8_t kAndOp = 0x7b;
constexpr std::uint8_t kOrOp = 0x7d;
constexpr std::uint8_t kDeviceOp = 0x82;
constexpr std::uint8_t kCreateDWordFieldOp = 0x8a;
constexpr std::uint8_t kLnotOp = 0x92;
constexpr std::uint8_t kLequalOp = 0x93;
constexpr std::uint8_t kIfOp = 0xa0;
constexpr std::uint8_t kElseOp = 0xa1;
constexpr std::uint8_t kReturnOp = 0xa4;

Bytes LittleEndian(std::uint64_t value, std::size_t bytes) {
  Bytes out;
  for (std::size_t i = 0; i < bytes; ++i)
    out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  return out;
}

// 20.2.4: the length counts its own bytes. One byte holds 6 bits, more hold 4 and then 8 each.
Bytes WithLength(const Bytes& content) {
  std::size_t own = 1;
  if (content.size() + 1 > 0x3f) {
    own = 2;
    while (content.size() + own >= std::size_t{1} << (4 + 8 * (own - 1))) ++own;
  }
  CHECK(own <= 4);
  const std::size_t length = content.size() + own;
  Bytes out;
  if (own == 1) {
    out.push_back(static_cast<std::uint8_t>(length));
  } else {
    out.push_back(static_cast<std::uint8_t>((own - 1) << 6 | (length & 0xf)));
    Append(out, LittleEndian(length >> 4, own - 1));
  }
  Append(out, content);
  return out;
}

Bytes NameString(std::string_view name) {
  Bytes out;
  if (name.starts_with('\\')) {
    out.push_back('\\');
    name.remove_prefix(1);
  }
  const std::size_t segments = (name.size() + 1) / 5;
  CHECK(segments >= 1 && segments < 256 && name.size() == segments * 5 - 1);
  if (segments == 2) out.push_back(kDualNamePrefix);
  if (segments > 2) {
    out.push_back(kMultiNamePrefix);
    out.push_back(static_cast<std::uint8_t>(segments));
  }
  for (const char c : name) {
    if (c != '.') out.push_back(static_cast<std::uint8_t>(c));
  }
  return out;
}

// Address space descriptors (6.4.3.5): what kind of space, with how wide fields.
enum class Space : std::uint8_t { kMemory = 0, kIo = 1, kBus = 2 };
struct Width {
  std::uint8_t tag;
  std::size_t bytes;
};
constexpr Width kWord{0x88, 2}, kDWord{0x87, 4}, kQWord{0x8a, 8};

Bytes Window(Width width, Space space, std::uint8_t flags, std::uint64_t base, std::uint64_t size) {
  // Producer; positive decode; base and limit are fixed.
  constexpr std::uint8_t kFixed = 1 << 2 | 1 << 3;
  CHECK(size > 0 && size - 1 <= UINT64_MAX - base);
  Bytes content = {static_cast<std::uint8_t>(space), kFixed, flags};
  const std::uint64_t fields[] = {0, base, base + (size - 1), 0, size};
  for (const std::uint64_t field : fields) Append(content, LittleEndian(field, width.bytes));
  return Join({Bytes{width.tag}, LittleEndian(content.size(), 2), content});
}

}  // namespace

Bytes Join(std::initializer_list<Bytes> terms) {
  Bytes out;
  for (const Bytes& term : terms) Append(out, term);
  return out;
}

void Append(Bytes& to, const Bytes& terms) { to.insert(to.end(), terms.begin(), terms.end()); }

Bytes Integer(std::uint64_t value) {
  if (value <= 1) return {static_cast<std::uint8_t>(value)};  // ZeroOp, OneOp
  if (value <= 0xff) return Join({Bytes{kBytePrefix}, LittleEndian(value, 1)});
  if (value <= 0xffff) return Join({Bytes{kWordPrefix}, LittleEndian(value, 2)});
  if (value <= 0xffffffff) return Join({Bytes{kDWordPrefix}, LittleEndian(value, 4)});
  return Join({Bytes{kQWordPrefix}, LittleEndian(value, 8)});
}

Bytes String(std::string_view ascii) {
  return Join({{kStringPrefix}, Bytes(ascii.begin(), ascii.end()), {0}});
}

Bytes EisaId(std::string_view id) {
  CHECK(id.size() == 7);
  const auto letter = [&](std::size_t i) {
    return static_cast<std::uint32_t>(id[i] - 0x40) & 0x1f;
  };
  const auto digit = [&](std::size_t i) {
    const char c = id[i];
    return static_cast<std::uint32_t>(c <= '9' ? c - '0' : c - 'A' + 10) & 0xf;
  };
  const std::uint32_t maker = letter(0) << 10 | letter(1) << 5 | letter(2);
  const std::uint32_t product = digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
  // Both halves are big-endian (19.3.4).
  const std::uint32_t value = (maker >> 8 & 0xff) | (maker & 0xff) << 8 |
                              (product >> 8 & 0xff) << 16 | (product & 0xff) << 24;
  return Join({Bytes{kDWordPrefix}, LittleEndian(value, 4)});
}

Bytes Package(std::initializer_list<Bytes> elements) {
  return Package(std::vector<Bytes>(elements));
}

Bytes Package(const std::vector<Bytes>& elements) {
  CHECK(elements.size() < 256);
  Bytes content = {static_cast<std::uint8_t>(elements.size())};
  for (const Bytes& element : elements) Append(content, element);
  return Join({Bytes{kPackageOp}, WithLength(content)});
}

Bytes Name(std::string_view name, const Bytes& object) {
  return Join({Bytes{kNameOp}, NameString(name), object});
}

Bytes Scope(std::string_view name, const Bytes& terms) {
  return Join({Bytes{kScopeOp}, WithLength(Join({NameString(name), terms}))});
}

Bytes Device(std::string_view name, const Bytes& terms) {
  return Join({Bytes{kExtOpPrefix, kDeviceOp}, WithLength(Join({NameString(name), terms}))});
}

Bytes ResourceTemplate(const Bytes& descriptors) {
  const Bytes content =
      Join({descriptors, {0x79, 0x00}});  // end tag, checksum not computed (6.4.2.9)
  return Join({Bytes{kBufferOp}, WithLength(Join({Integer(content.size()), content}))});
}

Bytes Memory32Fixed(std::uint32_t base, std::uint32_t size) {
  return Join(
      {Bytes{0x86, 9, 0, 1}, LittleEndian(base, 4), LittleEndian(size, 4)});  // 6.4.3.4; writable
}

Bytes EdgeInterrupt(std::uint32_t gsi) {
  constexpr std::uint8_t kConsumerEdgeHighExclusive = 0x03;
  return Join({Bytes{0x89, 6, 0, kConsumerEdgeHighExclusive, 1}, LittleEndian(gsi, 4)});  // 6.4.3.6
}

Bytes Io(std::uint16_t base, std::uint8_t size) {
  constexpr std::uint8_t kDecode16 = 1;
  return Join({Bytes{0x47, kDecode16}, LittleEndian(base, 2), LittleEndian(base, 2),
               Bytes{1, size}});  // 6.4.2.5
}

Bytes IrqNoFlags(unsigned irq) {
  CHECK(irq < 16);
  return Join({Bytes{0x22}, LittleEndian(1u << irq, 2)});  // 6.4.2.1
}

Bytes BusNumbers(std::uint16_t first, std::uint16_t count) {
  return Window(kWord, Space::kBus, 0, first, count);
}

Bytes IoWindow(std::uint16_t base, std::uint32_t size) {
  constexpr std::uint8_t kEntireRange = 3;
  return Window(kWord, Space::kIo, kEntireRange, base, size);
}

namespace {

constexpr std::uint8_t kReadWrite = 1;
// Not "prefetchable": Linux would keep BARs that are not out of it.
constexpr std::uint8_t kCacheable = 1 << 1;

}  // namespace

Bytes MemoryWindow32(std::uint32_t base, std::uint32_t size) {
  return Window(kDWord, Space::kMemory, kReadWrite, base, size);
}

Bytes MemoryWindow64(std::uint64_t base, std::uint64_t size) {
  return Window(kQWord, Space::kMemory, kReadWrite | kCacheable, base, size);
}

Bytes Method(std::string_view name, unsigned arguments, const Bytes& terms) {
  constexpr std::uint8_t kSerialized = 1 << 3;
  CHECK(arguments <= 7);
  const auto flags = static_cast<std::uint8_t>(arguments | kSerialized);
  return Join({Bytes{kMethodOp}, WithLength(Join({NameString(name), Bytes{flags}, terms}))});
}

Bytes Arg(unsigned n) { return {static_cast<std::uint8_t>(kArg0Op + n)}; }
Bytes Local(unsigned n) { return {static_cast<std::uint8_t>(kLocal0Op + n)}; }
Bytes Path(std::string_view name) { return NameString(name); }

Bytes UuidBuffer(std::string_view uuid) {
  // The order of the text's bytes in the buffer (19.6.142).
  constexpr std::size_t kOrder[] = {6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};
  CHECK(uuid.size() == 36);
  const auto digit = [&](std::size_t at) {
    const char c = uuid[at];
    return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
  };
  Bytes content = Integer(std::size(kOrder));
  for (const std::size_t at : kOrder)
    content.push_back(static_cast<std::uint8_t>(digit(at) << 4 | digit(at + 1)));
  return Join({Bytes{kBufferOp}, WithLength(content)});
}

Bytes CreateDWordField(const Bytes& buffer, std::uint64_t offset, std::string_view name) {
  return Join({Bytes{kCreateDWordFieldOp}, buffer, Integer(offset), NameString(name)});
}

Bytes If(const Bytes& predicate, const Bytes& terms) {
  return Join({Bytes{kIfOp}, WithLength(Join({predicate, terms}))});
}

Bytes Else(const Bytes& terms) { return Join({Bytes{kElseOp}, WithLength(terms)}); }

Bytes Equal(const Bytes& left, const Bytes& right) { return Join({Bytes{kLequalOp}, left, right}); }

Bytes NotEqual(const Bytes& left, const Bytes& right) {
  return Join({Bytes{kLnotOp}, Equal(left, right)});
}

Bytes And(const Bytes& left, const Bytes& right, const Bytes& target) {
  return Join({Bytes{kAndOp}, left, right, target});
}

Bytes Or(const Bytes& left, const Bytes& right, const Bytes& target) {
  return Join({Bytes{kOrOp}, left, right, target});
}

Bytes Store(const Bytes& value, const Bytes& target) {
  return Join({Bytes{kStoreOp}, value, target});
}

Bytes Return(const Bytes& value) { return Join({Bytes{kReturnOp}, value}); }

}  // namespace gemel::aml
