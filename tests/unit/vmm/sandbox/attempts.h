// What hostile code in the place of one of gemel-vmm's threads would try.
#pragma once
#include <sys/types.h>

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/unique_fd.h"
#include "block/restricted_ring.h"

namespace gemel::sandbox_test {

// What a VM's process has when it is taken over: made before it is confined.
struct Loot {
  pid_t victim = -1;         // another process: the one that started us
  const char* secret = "";   // an address in it, and here before the fork
  UniqueFd event;            // an event descriptor
  UniqueFd file;             // a disk image
  UniqueFd socket;           // a stream socket that is not connected
  UniqueFd foreign_network;  // /proc/self/ns/net
  UniqueFd terminal;         // a pty's slave
  // Confined as gemel-vmm's are; in the control, of no restriction.
  std::unique_ptr<block::RestrictedRing> ring;
  io_uring free_ring{};
  io_uring* uring() { return ring ? ring->get() : &free_ring; }
};

struct Attempt {
  std::string_view name;
  bool needs_root;  // to succeed where nothing confines it
  // True if it got what it wanted.
  std::function<bool(Loot& loot)> run;
};

std::span<const Attempt> Attempts();

}  // namespace gemel::sandbox_test
