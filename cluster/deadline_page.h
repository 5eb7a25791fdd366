// The deadline page: until when a node's session may issue. gemel-keeper writes it; every VM process
// of that session reads it (a sealed memfd, read-only there) before each submission and by a timer
// of each vCPU thread. The rules of both sides, without the memory.
#pragma once
#include <cstdint>
#include <tuple>

#include "cluster/records.h"
#include "cluster/timing.h"

namespace gemel::cluster {

// Belongs to one session, for ever. A new session gets a new page.
struct DeadlinePage {
  SessionId session;
  Time deadline = kNever;
  bool poisoned = true;
  auto fields() { return std::tie(session, deadline, poisoned); }

  // Whether a VM process of `of` may issue now.
  bool Allows(SessionId of, Time now) const { return !poisoned && of == session && now < deadline; }
  // Moves the deadline on. What has passed is poisoned instead: a late answer revives nothing.
  void Extend(Time to, Time now);
  void Poison() {
    poisoned = true;
    deadline = kNever;
  }
};

// A VM process's side. Once it has seen the page forbid, it stays shut until gemeld resumes the
// process under a new session and epoch, which replaces the latch.
struct Latch {
  SessionId session;
  bool shut = true;
  auto fields() { return std::tie(session, shut); }

  // Before each submission, after each exit with effects, and when the vCPU's timer fires.
  bool Check(const DeadlinePage& page, Time now) {
    if (!page.Allows(session, now)) shut = true;
    return !shut;
  }
};

}  // namespace gemel::cluster
