// Leave to have effects outside this process, which may end at any moment: what a VM of a cluster
// has while its node's session lives (vmm/fence/fence.h). Whoever sends, writes or serves asks right
// before it does; null pointers stand for leave without end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>

namespace gemel {

class EventLoop;

class Permit {
 public:
  // A thread that asks, by its loop. Both are called on it.
  struct Member {
    EventLoop* loop = nullptr;
    // How many requests it has handed out whose end it does not know.
    std::function<std::size_t()> in_flight;
    // It is over: once, soon after. And: it holds again, what was held back may go on.
    std::function<void()> over;
    std::function<void()> renewed;
  };

  virtual ~Permit() = default;
  // Whether it holds at this moment. Once false, false until the owner renews it, which it does only
  // after every member's loop has run since, and no vCPU is in the guest. Any thread; never blocks.
  virtual bool Holds() = 0;
  // Storage said that what we write is another's: over at once, and never renewed. Any thread.
  virtual void Refused() = 0;
  // When to ask again at the latest, as far as is known now: CLOCK_BOOTTIME in ns, more than 0. Any
  // thread.
  virtual std::int64_t AskAgainAtNs() const = 0;
  // Before the machine runs, on the thread that builds it. The loop outlives the permit's use of it.
  virtual void Join(Member member) = 0;
};

inline bool Allowed(Permit* permit) { return permit == nullptr || permit->Holds(); }

}  // namespace gemel
