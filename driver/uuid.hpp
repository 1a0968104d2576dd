#pragma once
#include <initializer_list>
#include <string>
#include <string_view>

namespace sor {

// The uuid v5 of the parts in sor's own namespace: the same parts always give the same id, so a successor of a killed
// worker repeats its request ids. Parts are told apart whatever they contain.
std::string uuid_v5(std::initializer_list<std::string_view> parts);

// A random one.
std::string uuid_v4();

} // namespace sor
