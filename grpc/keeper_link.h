// gemeld's connection to the gemel-keeper of its node (keeper/messages.h). The loop's thread.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/timer.h"
#include "base/unique_fd.h"
#include "cluster/page/page_memory.h"
#include "keeper/messages.h"

namespace gemel::daemon {

class KeeperLink {
 public:
  virtual ~KeeperLink() = default;
  // What it said last, though it may be gone since; nullptr: nothing yet. Until the next event.
  virtual const keeper::View* view() const = 0;
  // The page of the session in view(), as it is at this moment; without one, a page that allows nothing.
  virtual cluster::DeadlinePage page() const = 0;
  // That page for a VM's process. kFailedPrecondition if there is none.
  virtual Result<UniqueFd> OpenPage() const = 0;
  // What is said while it cannot be reached is lost: view() shows later that it was not heard.
  virtual void Say(const keeper::Statement& statement) = 0;
};

// Connects, and connects again for ever. `on_change`: view() or page() is another.
class KeeperSocket : public KeeperLink {
 public:
  // The loop outlives it.
  KeeperSocket(EventLoop* loop, std::string path, std::function<void()> on_change);
  ~KeeperSocket() override;
  KeeperSocket(const KeeperSocket&) = delete;
  KeeperSocket& operator=(const KeeperSocket&) = delete;

  const keeper::View* view() const override { return view_ ? &*view_ : nullptr; }
  cluster::DeadlinePage page() const override { return page_.Read(); }
  Result<UniqueFd> OpenPage() const override;
  void Say(const keeper::Statement& statement) override;
  bool connected() const { return channel_.has_value(); }

 private:
  void Connect();
  void Read();
  void Take(keeper::ViewMessage message);
  void Drop(const std::string& why);

  EventLoop* loop_;
  std::string path_;
  std::function<void()> on_change_;
  std::optional<ControlChannel> channel_;
  std::optional<keeper::View> view_;
  UniqueFd page_fd_;
  cluster::PageReader page_;
  Timer retry_;
};

}  // namespace gemel::daemon
