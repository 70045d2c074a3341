#pragma once

#include <optional>
#include <string_view>

#include "mos/io/pickle.h"

/// The classes and functions that pickles of models may name, and what they stand for here. None is
/// ever called: what Python would make of them is written down as data.
namespace mos::io {

/// Whether a pickle may name `global` ("module.name"): OrderedDict, sets, torch's storage types,
/// Size, Parameter, ParameterDict and the functions that rebuild tensors and parameters; and what
/// trainers leave beside the weights (callbacks of PyTorch Lightning, numbers of NumPy, types and
/// devices of torch), which is passed over.
bool is_known_global(std::string_view global);

/// What `callable(*arguments)` gives; nothing when no trainer or torch.save would write that call.
std::optional<PickleNode> result_of_call(const PickleNode& callable, const PickleNode& arguments);

/// The kind of an object of class `type` that is made without a call: a dictionary for
/// ParameterDict, opaque for what is passed over; nothing for every other class.
std::optional<PickleNode::Kind> kind_of_new_object(const PickleNode& type);

}  // namespace mos::io
