#include "cluster/memory.h"

#include <algorithm>

namespace gemel::cluster {

Memory::Verdict Memory::OnView(std::uint64_t incarnation, Revision incarnation_key, Revision store,
                               Time now) {
  if (incarnation < incarnation_.number) {
    alarmed_ = true;
    return Verdict::kAlarm;
  }
  if (incarnation > incarnation_.number) {
    incarnation_ = {incarnation, incarnation_key, now};
    highest_ = store;
    alarmed_ = false;
    return Verdict::kNew;
  }
  if (alarmed_) return Verdict::kAlarm;
  if (store < highest_) return Verdict::kStale;
  highest_ = store;
  return Verdict::kCurrent;
}

Memory::Verdict Memory::OnAnswer(Revision store, Revision seen) {
  if (store < seen) alarmed_ = true;
  highest_ = std::max(highest_, store);
  return alarmed_ ? Verdict::kAlarm : Verdict::kCurrent;
}

}  // namespace gemel::cluster
