#pragma once

#include <string>
#include <vector>

#include "mos/text/clip_tokenizer.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"

/// Whether training prompts say what they shall, before any work starts. `options` are complete
/// (complete_options in tune.h).
namespace mos::tune {

/// Throws mos::Error(kUsage) naming every picture of which a caption lacks a word of the concept.
void check_captions(const ConceptDataset& dataset, const TuneOptions& options);

/// What has no effect in captions: beyond the tokens that the text encoder reads, written as
/// other programs weigh words, or a `<word>` that nobody has. One sentence for each, empty when all
/// is read as it stands. Throws mos::Error(kUsage) where a word of the concept can stand beyond
/// what is read: with the longest template, and behind all parts that shuffling can bring before
/// it.
std::vector<std::string> weigh_captions(const ConceptDataset& dataset, const TuneOptions& options,
                                        const text::CLIPTokenizer& tokenizer);

/// The same as warnings in the log.
void warn_of_captions(const ConceptDataset& dataset, const TuneOptions& options,
                      const text::CLIPTokenizer& tokenizer);

}  // namespace mos::tune
