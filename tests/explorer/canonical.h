// Turns a state into bytes, and back, so that states which behave alike become the same bytes:
// moments become their distance from their node's clock, revisions their rank, and the numbers of
// requests nothing at all (a request that nobody waits for is not in a state).
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include "cluster/timing.h"
#include "cluster/txn.h"

namespace gemel::explorer {

// A value that may be absent: what is absent takes one byte.
template <class T>
concept MayBeAbsent = requires(T& value) { value.fields_if_present(); };
template <class T>
concept HasFields = requires(T& value) { value.fields(); };

// Calls the visitor with each scalar, Time, Revision and RequestId of a value.
template <class Visitor, class T>
void Walk(Visitor& visitor, T& value) {
  if constexpr (MayBeAbsent<T>) {
    visitor(value.present);
    if (!value.present) return;
    std::apply([&](auto&... field) { (Walk(visitor, field), ...); }, value.fields_if_present());
  } else if constexpr (HasFields<T>) {
    std::apply([&](auto&... field) { (Walk(visitor, field), ...); }, value.fields());
  } else if constexpr (requires { value.begin(); }) {
    for (auto& element : value) Walk(visitor, element);
  } else {
    visitor(value);
  }
}

// Beyond this a moment is merely "long ago": longer than every wait of the model.
inline constexpr std::int64_t kLongAgo = -60;
inline constexpr std::int8_t kNeverByte = -128;

class RevisionRanks {
 public:
  void operator()(cluster::Revision& revision) {
    if (revision.value == 0) return;
    const auto at = std::lower_bound(seen_.begin(), seen_.begin() + count_, revision.value);
    if (at != seen_.begin() + count_ && *at == revision.value) return;
    CHECK(count_ < static_cast<std::ptrdiff_t>(seen_.size()));
    std::copy_backward(at, seen_.begin() + count_, seen_.begin() + count_ + 1);
    *at = revision.value;
    ++count_;
  }
  template <class T>
  void operator()(T&) {}
  void SetClock(cluster::Time) {}

  std::int8_t Rank(cluster::Revision revision) const {
    if (revision.value == 0) return 0;
    const auto at = std::lower_bound(seen_.begin(), seen_.begin() + count_, revision.value);
    return static_cast<std::int8_t>(at - seen_.begin() + 1);
  }

 private:
  std::array<std::int64_t, 100> seen_{};
  std::ptrdiff_t count_ = 0;
};

class Writer {
 public:
  explicit Writer(const RevisionRanks& ranks) : ranks_(ranks) { bytes_.reserve(1024); }
  void SetClock(cluster::Time now) { now_ = now; }
  void operator()(cluster::Time& time) {
    if (time == cluster::kNever) return Byte(kNeverByte);
    Byte(std::max((time - now_).us, kLongAgo));
  }
  void operator()(cluster::Revision& revision) { Byte(ranks_.Rank(revision)); }
  void operator()(cluster::RequestId&) {}
  template <class T>
    requires std::is_enum_v<T>
  void operator()(T& value) {
    Byte(static_cast<std::int64_t>(value));
  }
  template <class T>
    requires std::is_integral_v<T>
  void operator()(T& value) {
    Byte(static_cast<std::int64_t>(value));
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void Byte(std::int64_t value) {
    CHECK(value >= -128 && value < 128);
    bytes_.push_back(static_cast<char>(value));
  }
  const RevisionRanks& ranks_;
  cluster::Time now_;
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  void SetClock(cluster::Time) {}
  void operator()(cluster::Time& time) {
    const std::int8_t value = Byte();
    time = value == kNeverByte ? cluster::kNever : cluster::Time{value};
  }
  void operator()(cluster::Revision& revision) { revision.value = Byte(); }
  void operator()(cluster::RequestId& id) { id = {}; }
  template <class T>
    requires std::is_enum_v<T>
  void operator()(T& value) {
    value = static_cast<T>(Byte());
  }
  template <class T>
    requires std::is_integral_v<T>
  void operator()(T& value) {
    value = static_cast<T>(Byte());
  }

 private:
  std::int8_t Byte() { return static_cast<std::int8_t>(bytes_[at_++]); }
  const std::string& bytes_;
  std::size_t at_ = 0;
};

// Runs of zeros, which a state mostly is, become two bytes.
inline std::string Squeeze(const std::string& bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size();) {
    out.push_back(bytes[i]);
    if (bytes[i++] != 0) continue;
    std::size_t run = 1;
    while (i < bytes.size() && bytes[i] == 0 && run < 255) ++i, ++run;
    out.push_back(static_cast<char>(run));
  }
  return out;
}

inline std::string Unsqueeze(const std::string& packed) {
  std::string out;
  for (std::size_t i = 0; i < packed.size(); ++i) {
    if (packed[i] != 0) {
      out.push_back(packed[i]);
    } else {
      out.append(static_cast<unsigned char>(packed[++i]), '\0');
    }
  }
  return out;
}

inline std::uint64_t HashBytes(const std::string& bytes) {
  std::uint64_t hash = 0x9E3779B97F4A7C15U ^ bytes.size();
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0xFF51AFD7ED558CCDU;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace gemel::explorer
