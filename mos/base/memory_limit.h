#pragma once

/// Memory that runs out ends a command with one clear line.
namespace mos {

/// Where the address space of this process is limited (ulimit -v), makes tensors leave some of it
/// for the libraries below LibTorch: those do not report that they get none, they wait for ever or
/// fault. What asks for more then throws mos::Error(kDevice). Call once, before the first tensor.
void guard_memory();

/// Says in one line that memory has run out, and ends the process with the exit code of kDevice,
/// where no caller can be told: now, if a limit on the address space has no room for the set-up of
/// the libraries, and later in that set-up or in a thread of theirs. Other failures end as before.
/// Call before that set-up; it needs none of them.
void end_clearly_without_memory();

}  // namespace mos
