// What a node makes of the keys and values that it finds in etcd.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "etcd/codec.h"
#include "etcd/view.h"

namespace gemel::etcd {
namespace {

// Whatever was accepted says the same after another round trip.
template <class T>
void CheckRecord(std::string_view value, Result<T> (*decode)(std::string_view),
                 std::string (*encode)(const T&)) {
  const Result<T> first = decode(value);
  if (!first) return;
  const Result<T> again = decode(encode(*first));
  CHECK(again && *again == *first);
}

std::string EncodeNumber(const std::uint64_t& number) { return EncodeIncarnation(number); }
std::string EncodeCount(const std::uint64_t& number) { return EncodeBeat(number); }

void CheckView(const std::string& key, std::string_view value) {
  View view;
  view.Reset({7, {{key, std::string(value), 5}}});
  const KeyEvent events[] = {{{key, std::string(value), 8}, false}, {{key, "", 9}, true}};
  view.Apply(events);
  CHECK(view.store().value == 9 && view.vms().empty());
}

}  // namespace
}  // namespace gemel::etcd

// The first byte is the length of a key; the rest is its value.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace gemel::etcd;  // NOLINT(google-build-using-namespace): one function
  if (size == 0) return 0;
  // SAFETY: bytes are read as characters.
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string_view key = input.substr(0, data[0]);
  const std::string_view value = input.substr(key.size());
  if (const auto decoded = DecodeKey(key)) CHECK(EncodeKey(*decoded) == key);
  CheckRecord<std::uint64_t>(value, DecodeIncarnation, EncodeNumber);
  CheckRecord<std::uint64_t>(value, DecodeBeat, EncodeCount);
  CheckRecord<gemel::cluster::SessionRecord>(value, DecodeSession, EncodeSession);
  CheckRecord<gemel::cluster::Ownership>(value, DecodeOwnership, EncodeOwnership);
  CheckView(std::string(key), value);
  return 0;
}
