// What somebody had done against a refusal, or has vouched for: /gemel/cluster/overrides/TIME-NAME, put with
// what it allows and never removed. Beside etcd/codec.h, and by the same rules. Pure.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "etcd/kv.h"

namespace gemel::etcd {

struct Override {
  std::int64_t time = 0;  // seconds since 1970
  std::string text;       // who, what and why
  bool operator==(const Override&) const = default;
};

KeyRange OverrideRange();
// `name`: of whom it is about.
KvTxn::Put OverridePut(const Override& said, std::string_view name);
Result<Override> DecodeOverride(std::string_view value);

}  // namespace gemel::etcd
