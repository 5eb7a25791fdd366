// What gemel-keeper and gemeld say to each other (proto/internal/keeper.proto). Pure; either distrusts
// what the other sends: a message that breaks a rule is an error, after which its socket is closed.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "base/result.h"
#include "base/unique_fd.h"
#include "cluster/memory.h"
#include "cluster/records.h"
#include "cluster/session.h"
#include "vmm/control/control_channel.h"

namespace gemel::keeper {

// gemeld's word: no VM process of this node, of whatever session, may issue anything at this moment,
// and none will be started or resumed under `up_to` or an earlier session. View::wants_quiet asks for
// it, with View::last. Of a session that lives it is heard only if the node is drained.
struct Quiet {
  cluster::SessionId up_to;
  bool operator==(const Quiet&) const = default;
};
// The operator gave the node up: its session closes when it is quiet, and none opens.
struct Drained {
  bool drained = false;
  bool operator==(const Drained&) const = default;
};
// An older keeper has no other; what it does not know is monostate, and ignored.
using Statement = std::variant<std::monostate, Quiet, Drained>;

// How a node's session is, as its keeper sees it.
struct View {
  cluster::NodeId node = 0;
  cluster::Session::Phase phase = cluster::Session::Phase::kClosed;
  cluster::SessionId session;  // the last one that this keeper had; number 0: none yet
  cluster::Revision opened;    // what transactions of a live session compare; 0: it is over
  cluster::SessionId last;     // the highest that is known to have been
  bool wants_quiet = true;     // none opens, or closes, before Quiet{last}
  bool drained = false;
  bool vote_given_up = false;
  cluster::Incarnation incarnation;
  cluster::Revision highest;  // as of this message; it grows without one
  bool alarmed = false;
  std::string trouble;  // why there is no session, for people; empty if there is one

  // Whether it says the same, apart from `highest`.
  bool SaysTheSame(const View& other) const;
  // For agents and challengers of the same node. Whether its page still allows is theirs to ask.
  cluster::SessionView session_view() const { return {node, session, opened, opened.value > 0}; }
};

// With the page's descriptor (cluster/page) while there is a session, else an empty one.
struct ViewMessage {
  View view;
  UniqueFd page;
};

ControlMessage EncodeStatement(const Statement& statement);
Result<Statement> DecodeStatement(const ControlMessage& message);
ControlMessage EncodeView(ViewMessage message);
Result<ViewMessage> DecodeView(ControlMessage message);

}  // namespace gemel::keeper
