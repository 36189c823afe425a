// The engine's allocators -> the same ones, which ask before they take a large piece.
// Runs on: whatever thread of the engine's allocates.
// Never: asks for small pieces, which are most; changes where memory comes from.
//
// Values that functions compute are in no buffer that the engine counts, and the interrupt of a statement is not looked at before
// a vector of them is full. They come from the instance's allocator or from the one of the whole process, which are open to
// functions of one's own, put in their place before the first statement runs; or they are built as texts and vectors of C++, with
// `operator new`, which every program may replace.

#include "duckdb/common/allocator.hpp"
#include "duckdb/common/exception.hpp"
#include "duckdb/common/string_util.hpp"
#include "duckdb/main/capi_v2/capi_v2_result_internal.hpp"
#include "duckdb/main/client_context.hpp"
#include "duckdb/main/database.hpp"

#include <cstdlib>
#include <mutex>
#include <new>

extern "C" {
uint64_t pintail_take_memory(uint64_t bytes, bool told);
void pintail_give_memory_back(uint64_t bytes);
}

namespace {

using namespace duckdb; // NOLINT

// Most buffers are smaller, and few values are larger.
constexpr idx_t LARGE = idx_t(4) << 20;

void Take(idx_t size) {
	auto limit = pintail_take_memory(size, true);
	if (limit != 0) {
		// Not the words of the engine's own limit, which is another setting.
		throw OutOfMemoryException("the server has no %s more for a value or a buffer, its limit is %s",
		                           StringUtil::BytesToHumanReadableString(size),
		                           StringUtil::BytesToHumanReadableString(limit));
	}
}

data_ptr_t Allocate(PrivateAllocatorData *data, idx_t size) {
	if (size < LARGE) {
		return Allocator::DefaultAllocate(data, size);
	}
	Take(size);
	auto result = Allocator::DefaultAllocate(data, size);
	if (!result) {
		pintail_give_memory_back(size);
	}
	return result;
}

void Free(PrivateAllocatorData *data, data_ptr_t pointer, idx_t size) {
	Allocator::DefaultFree(data, pointer, size);
	if (size >= LARGE) {
		pintail_give_memory_back(size);
	}
}

data_ptr_t Reallocate(PrivateAllocatorData *data, data_ptr_t pointer, idx_t old_size, idx_t size) {
	if (size >= LARGE) {
		Take(size);
	}
	auto result = Allocator::DefaultReallocate(data, pointer, old_size, size);
	auto gone = result ? old_size : size;
	if (gone >= LARGE) {
		pintail_give_memory_back(gone);
	}
	return result;
}

// Many hold a reference to it, so it is made anew where it is. What it has handed out is freed as before.
void Hold(Allocator &allocator) {
	allocator.~Allocator();
	new (&allocator) Allocator(Allocate, Free, Reallocate, nullptr);
}

} // namespace

//! As the one it replaces; the engine's own code is the only C++ of the program
void *operator new(std::size_t size) {
	if (size >= LARGE && pintail_take_memory(size, false) != 0) {
		throw std::bad_alloc();
	}
	for (;;) {
		if (auto result = std::malloc(size == 0 ? 1 : size)) {
			return result;
		}
		auto handler = std::get_new_handler();
		if (!handler) {
			throw std::bad_alloc();
		}
		handler();
	}
}

extern "C" void pintail_hold_allocations(duckdb_v2_connection_handle connection) {
	static std::once_flag process;
	std::call_once(process, [] { Hold(Allocator::DefaultAllocator()); });
	Hold(Allocator::Get(*duckdb::capiv2::Convert(connection)->context));
}
