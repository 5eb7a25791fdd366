#include "cluster/deadline_page.h"

#include <algorithm>

namespace gemel::cluster {

void DeadlinePage::Extend(Time to, Time now) {
  if (poisoned) return;
  if (now >= deadline) {
    Poison();
    return;
  }
  deadline = std::max(deadline, to);
}

}  // namespace gemel::cluster
