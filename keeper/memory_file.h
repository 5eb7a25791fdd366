// cluster::Memory over a node's restarts: a small file, replaced whole and synced, so that what was
// seen of etcd once is not believed to be new later.
//
// A highest revision that was lost with the last seconds is only a weaker memory; an incarnation is
// written before anything is done in it (Save's `durable`).
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "base/event_loop.h"
#include "base/result.h"
#include "cluster/memory.h"

namespace gemel::keeper {

struct MemoryState {
  std::uint64_t incarnation = 0;
  cluster::Revision incarnation_revision;
  cluster::Revision highest;
  bool alarmed = false;
  bool operator==(const MemoryState&) const = default;
};

// "incarnation 1 3\nhighest 700\nalarmed 0\n".
std::string EncodeMemory(const MemoryState& state);
Result<MemoryState> DecodeMemory(std::string_view text);

class MemorySaver {
 public:
  virtual ~MemorySaver() = default;
  // Never blocks. `durable` is called on the owner's loop once this state, or a later one, is on the
  // disk; never if it cannot be written (which is logged, and tried again with the next state).
  virtual void Save(const MemoryState& state, std::function<void()> durable) = 0;
};

// A file, written by a thread of its own: a disk that stalls must not hold the session up.
class MemoryFile : public MemorySaver {
 public:
  // kDataLoss if there is a file that cannot be read: a person must look, since the node would forget
  // what it has seen. No file is an empty memory.
  static Result<MemoryState> Read(const std::string& path);

  static Result<std::unique_ptr<MemoryFile>> Create(EventLoop* loop, std::string path);
  ~MemoryFile() override;  // when all is written

  void Save(const MemoryState& state, std::function<void()> durable) override;

 private:
  MemoryFile(EventLoop* loop, std::unique_ptr<EventLoop> writer, std::string path)
      : loop_(loop), writer_(std::move(writer)), path_(std::move(path)) {}

  EventLoop* loop_;
  std::unique_ptr<EventLoop> writer_;  // the thread's
  std::string path_;
  std::thread thread_;
};

}  // namespace gemel::keeper
