// gemel-keeper's socket: gemeld, or two of them while one follows the other, see how the session is and
// say what the keeper must know. Only the keeper's own user and root are served. The loop's thread.
#pragma once
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "keeper/messages.h"
#include "vmm/control/control_channel.h"

namespace gemel::keeper {

class Server {
 public:
  struct Owner {
    std::function<void(const Statement&)> on_statement;
    std::function<ViewMessage()> view;  // what is said now
  };

  // Listens at `path`; what was there is replaced, so the caller makes sure that nobody serves it.
  static Result<std::unique_ptr<Server>> Create(EventLoop* loop, const std::string& path,
                                                Owner owner);
  ~Server();

  // Says how things are to everybody. Who does not read is dropped, and may come again.
  void Tell();

 private:
  struct Client {
    ControlChannel channel;
  };
  using Clients = std::list<Client>;

  Server(EventLoop* loop, UniqueFd listener, Owner owner)
      : loop_(loop), listener_(std::move(listener)), owner_(std::move(owner)) {}
  void Accept();
  void Serve(Clients::iterator client);
  bool Say(Client& client);
  void Drop(Clients::iterator client);

  EventLoop* loop_;
  UniqueFd listener_;
  Owner owner_;
  Clients clients_;
};

}  // namespace gemel::keeper
