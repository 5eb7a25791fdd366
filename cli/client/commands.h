// The nouns of gemel-client. Each takes its verb and arguments, prints what was asked for, and fails
// with an error that says what to do.
#pragma once
#include "base/result.h"
#include "cli/client/session.h"

namespace gemel::cli {

struct VerbEntry {
  std::string_view verb;
  Status (*run)(Words words);
};

struct Noun {
  std::string_view noun;
  std::string_view help;  // begins with two examples
  std::span<const VerbEntry> verbs;
};

Noun VmNoun();
Noun DiskNoun();
Noun NetNoun();
Noun NodeNoun();
Noun ClusterNoun();
Noun OperationNoun();
Noun EventNoun();
Noun AccessNoun();
Noun ContextNoun();

// gemel completion SHELL, and what the scripts it prints call.
Status CompletionCommand(Words words);
Status CompleteCommand(Words words);

Status ClusterConfirmDead(Words words);
Status ClusterFence(Words words);

// Verbs of cluster that form one.
Status ClusterInit(Words words);
Status ClusterInvite(Words words);
Status ClusterJoin(Words words);
Status ClusterWitness(Words words);
Status ClusterMembers(Words words);
Status ClusterLeave(Words words);
Status ClusterReplace(Words words);
Status ClusterBackup(Words words);
Status ClusterRestore(Words words);

// Verbs of vm that have a file of their own.
Status VmCreate(Words words);
Status VmUpdate(Words words);
Status VmConsole(Words words);
Status VmTop(Words words);

}  // namespace gemel::cli
