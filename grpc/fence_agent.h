// Fence agents by their stdin protocol (ClusterLabs' FenceAgentAPI): a program that is told on its standard
// input what to do, as lines "name=value", and answers by its exit status. What an administrator declared of
// one, and what is said to it. Pure.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace gemel::daemon {

// How one other node can be switched off from here.
struct FenceAgent {
  std::string agent;            // the program: an absolute path
  std::string plug;             // which outlet, blade or machine, for agents that serve several
  std::string secret_file;      // its first line is the password; nobody but its owner may read it
  std::string user = "nobody";  // whom it runs as
  std::int64_t timeout_seconds = 60;           // of one action, 1 to 3600; then it is killed
  std::map<std::string, std::string> options;  // the agent's own: ip, username, …
  bool operator==(const FenceAgent&) const = default;
};

// kInvalidArgument naming the key below fence_agents.NODE and its value.
Status Validate(std::string_view node, const FenceAgent& agent);

// What it reads. `secret`: empty if there is none. The only place where a secret goes.
std::string FenceInput(const FenceAgent& agent, std::string_view action, std::string_view secret);

enum class FencePower : std::uint8_t { kUnknown, kOn, kOff };
std::string_view PowerWord(FencePower power);
// What the exit status of "status" says.
FencePower PowerOf(int exit_status);

}  // namespace gemel::daemon
