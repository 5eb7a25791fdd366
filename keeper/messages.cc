#include "keeper/messages.h"

#include <utility>

#include "proto/internal/keeper.pb.h"

namespace gemel::keeper {
namespace {

using cluster::Session;
using cluster::SessionId;

constexpr std::size_t kMostTrouble = 1000;

void Fill(const SessionId& from, internal::KeeperSessionId* to) {
  to->set_incarnation(from.incarnation);
  to->set_number(from.number);
}
SessionId From(const internal::KeeperSessionId& id) { return {id.incarnation(), id.number()}; }

// On the wire they begin at 1, so that a phase that was left out is none.
static_assert(std::to_underlying(Session::Phase::kClosing) + 1 == internal::KEEPER_PHASE_CLOSING);

ControlMessage Serialize(const google::protobuf::MessageLite& message) {
  ControlMessage out;
  message.SerializeToString(&out.payload);
  return out;
}

template <class T>
Result<T> Parse(const ControlMessage& message) {
  T parsed;
  if (!parsed.ParseFromString(message.payload))
    return InvalidArgument("keeper: {} bytes that are no message", message.payload.size());
  return parsed;
}

View FromWire(const internal::FromKeeper& from) {
  View view;
  view.node = from.node();
  view.phase = static_cast<Session::Phase>(from.phase() - 1);
  view.session = From(from.session());
  view.opened = {from.opened()};
  view.last = From(from.last());
  view.wants_quiet = from.wants_quiet();
  view.drained = from.drained();
  view.vote_given_up = from.vote_given_up();
  view.incarnation = {
      from.incarnation(), {from.incarnation_revision()}, {from.incarnation_seen_us()}};
  view.highest = {from.highest_revision()};
  view.alarmed = from.alarmed();
  view.trouble = from.trouble();
  return view;
}

}  // namespace

bool View::SaysTheSame(const View& other) const {
  const auto all = [](const View& view) {
    return std::tie(view.node, view.phase, view.session, view.opened, view.last, view.wants_quiet,
                    view.drained, view.vote_given_up, view.incarnation.number,
                    view.incarnation.revision, view.incarnation.seen_at, view.alarmed,
                    view.trouble);
  };
  return all(*this) == all(other);
}

ControlMessage EncodeStatement(const Statement& statement) {
  internal::ToKeeper out;
  if (const auto* quiet = std::get_if<Quiet>(&statement))
    Fill(quiet->up_to, out.mutable_quiet()->mutable_up_to());
  if (const auto* drained = std::get_if<Drained>(&statement))
    out.mutable_drained()->set_drained(drained->drained);
  return Serialize(out);
}

Result<Statement> DecodeStatement(const ControlMessage& message) {
  if (!message.fds.empty()) return InvalidArgument("keeper: a descriptor that nothing uses");
  ASSIGN_OR_RETURN(const internal::ToKeeper in, Parse<internal::ToKeeper>(message));
  if (in.has_quiet()) return Statement(Quiet{From(in.quiet().up_to())});
  if (in.has_drained()) return Statement(Drained{in.drained().drained()});
  return Statement();
}

ControlMessage EncodeView(ViewMessage message) {
  const View& view = message.view;
  internal::FromKeeper out;
  out.set_node(view.node);
  out.set_phase(static_cast<internal::KeeperPhase>(std::to_underlying(view.phase) + 1));
  Fill(view.session, out.mutable_session());
  out.set_opened(view.opened.value);
  Fill(view.last, out.mutable_last());
  out.set_wants_quiet(view.wants_quiet);
  out.set_drained(view.drained);
  out.set_vote_given_up(view.vote_given_up);
  out.set_incarnation(view.incarnation.number);
  out.set_incarnation_revision(view.incarnation.revision.value);
  out.set_incarnation_seen_us(view.incarnation.seen_at.us);
  out.set_highest_revision(view.highest.value);
  out.set_alarmed(view.alarmed);
  out.set_trouble(view.trouble.substr(0, kMostTrouble));
  out.set_page(static_cast<bool>(message.page));
  ControlMessage encoded = Serialize(out);
  if (message.page) encoded.fds.push_back(std::move(message.page));
  return encoded;
}

Result<ViewMessage> DecodeView(ControlMessage message) {
  ASSIGN_OR_RETURN(const internal::FromKeeper in, Parse<internal::FromKeeper>(message));
  if (in.phase() < internal::KEEPER_PHASE_CLOSED || in.phase() > internal::KEEPER_PHASE_CLOSING)
    return InvalidArgument("keeper: phase {}: unknown", static_cast<int>(in.phase()));
  if (in.node() == 0) return InvalidArgument("keeper: node 0: none is");
  if (message.fds.size() != (in.page() ? 1U : 0U))
    return InvalidArgument("keeper: {} descriptors: not what was said", message.fds.size());
  ViewMessage out{FromWire(in), {}};
  if (in.page()) out.page = std::move(message.fds[0]);
  return out;
}

}  // namespace gemel::keeper
