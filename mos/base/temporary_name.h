#pragma once

#include <filesystem>
#include <string>
#include <string_view>

/// The names of temporary files and folders (temporary.h), `.NAME.mos-BOOT-RANDOM.part`.
namespace mos {

/// A new one for a result that will stand at `place`, cut where NAME is too long for the system.
std::string temporary_name(const std::filesystem::path& place);

/// This machine and its run, by eight digits: locks are seen by all processes of one kernel, in
/// whatever container, but not always by other machines on the same volume. Empty where the system
/// does not say.
std::string boot_id();

/// The boot in a temporary name; empty for other names.
std::string_view boot_in(std::string_view name);

/// Whether `path` lies in a temporary folder, which is a result itself, as a whole.
bool lies_in_temporary(const std::filesystem::path& path);

/// Marks what has a temporary name, but is a result that could not have another, so that
/// clear_leftovers() lets it be.
void mark_kept(const std::filesystem::path& path);

/// Whether the file or folder that `descriptor` is open on bears the mark.
bool is_kept(int descriptor);

}  // namespace mos
