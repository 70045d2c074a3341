#pragma once

#include <string>

/// What rows call the ways to tune and to merge, as the papers do. Said once, so that a row never
/// has the name of another method than the one that its figures are of.
namespace mos::study {

/// Of a method of tune: "ED-LoRA" for ed_lora. One that no paper names differently is itself.
std::string title_of_tuning(const std::string& method);
/// Of a method of fuse: "gradient fusion" for gradient.
std::string title_of_merge(const std::string& method);

/// "ED-LoRA, gradient fusion"; without a merge "ED-LoRA, alone".
std::string row_title(const std::string& tuning, const std::string& merge = "");

}  // namespace mos::study
