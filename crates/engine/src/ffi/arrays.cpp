// Rows of a running query -> Arrow arrays of about so many bytes, as one of the engine's result formats.
// Runs on: DuckDB's worker threads, each with an array of its own under way.
// Never: makes an array of other values than the engine's own format does; holds more than the chunk in hand and one array.
//
// The engine's `ArrowFormat` bounds arrays by rows alone, so that rows of 17 KB make arrays of gigabytes. A result format is a
// class that the engine leaves open; this one is `ArrowFormat` with another idea of when an array is full, with buffers that
// begin as large as those before them became, and with appends that look at a column once instead of value by value.
// Of the engine it uses the appender's own pieces. Two structs of its own are not declared in headers: `ArrayUnit` and
// `Prepared` below are them, field for field; `build.rs` refuses to build when the engine's sources say otherwise.

#include "duckdb/common/arrow/appender/append_data.hpp"
#include "duckdb/common/arrow/appender/scalar_data.hpp"
#include "duckdb/common/arrow/appender/varchar_data.hpp"
#include "duckdb/common/arrow/arrow_appender.hpp"
#include "duckdb/common/arrow/arrow_format.hpp"
#include "duckdb/common/deque.hpp"
#include "duckdb/common/vector/unified_vector_format.hpp"
#include "duckdb/main/capi_v2/capi_v2_result_internal.hpp"
#include "duckdb/main/prepared_statement.hpp"

namespace {

using namespace duckdb; // NOLINT

// How large arrays are to be.
struct Bounds {
	idx_t bytes;
	idx_t rows;
};

// Vectors per array that divide a row group evenly: arrays end at row groups, so any other number leaves a short array
// behind every one of them.
constexpr idx_t VECTORS[] = {60, 30, 20, 15, 12, 10, 6, 5, 4, 3, 2};
// Rows of nested values that are appended before their width is known.
constexpr idx_t PROBE_ROWS = 64;
// Strings are copied in steps of so many bytes, so that a buffer ends so far behind its last one.
constexpr idx_t STEP_BYTES = string_t::INLINE_BYTES;

//===--------------------------------------------------------------------===//
// Appends
//===--------------------------------------------------------------------===//

//! As ArrowVarcharData<string_t, ArrowVarcharConverter, int32_t>: lengths first, then one reservation, then the bytes
template <bool HAS_SELECTION, bool HAS_NULLS>
void CopyStrings(ArrowAppendData &target, const UnifiedVectorFormat &format, idx_t from, idx_t to) {
	auto strings = UnifiedVectorFormat::GetData<string_t>(format);
	auto offsets = target.GetMainBuffer().GetData<int32_t>() + target.row_count;
	auto validity = target.GetValidityBuffer().data();
	const auto begin = UnsafeNumericCast<idx_t>(offsets[0]);
	auto end = begin;
	for (idx_t i = from; i < to; i++) {
		auto source = HAS_SELECTION ? format.sel->get_index_unsafe(i) : i;
		if (HAS_NULLS && !format.validity.RowIsValid(source)) {
			auto row = target.row_count + i - from;
			target.SetNull(validity, row / 8, UnsafeNumericCast<uint8_t>(row % 8));
		} else {
			end += strings[source].GetSize();
		}
		offsets[i - from + 1] = static_cast<int32_t>(static_cast<uint32_t>(end));
	}
	if (end > NumericLimits<int32_t>::Maximum()) {
		throw InvalidInputException("Arrow Appender: The maximum total string size for regular string buffers is "
		                            "%u but the offset of %lu exceeds this.\n* SET arrow_large_buffer_size=true to use "
		                            "large string buffers",
		                            NumericLimits<int32_t>::Maximum(), end);
	}
	auto &bytes = target.GetAuxBuffer();
	bytes.reserve(end + STEP_BYTES);
	bytes.resize(end);
	auto next = bytes.data() + begin;
	for (idx_t i = from; i < to; i++) {
		auto source = HAS_SELECTION ? format.sel->get_index_unsafe(i) : i;
		if (HAS_NULLS && !format.validity.RowIsValid(source)) {
			continue;
		}
		auto &string = strings[source];
		auto size = string.GetSize();
		if (string.IsInlined()) {
			memcpy(next, string.GetPrefix(), STEP_BYTES);
		} else {
			memcpy(next, string.GetData(), size);
		}
		next += size;
	}
}

void AppendStrings(ArrowAppendData &target, const Vector &input, idx_t from, idx_t to, idx_t input_size) {
	UnifiedVectorFormat format;
	input.ToUnifiedFormat(format);
	const auto rows = target.row_count + (to - from);
	ArrowAppendData::ResizeValidity(target.GetValidityBuffer(), rows);
	auto &offsets = target.GetMainBuffer();
	offsets.resize((rows + 1) * sizeof(int32_t));
	if (target.row_count == 0) {
		offsets.GetData<int32_t>()[0] = 0;
	}
	const bool has_nulls = format.validity.CanHaveNull();
	if (format.sel->IsSet()) {
		has_nulls ? CopyStrings<true, true>(target, format, from, to) : CopyStrings<true, false>(target, format, from, to);
	} else {
		has_nulls ? CopyStrings<false, true>(target, format, from, to)
		          : CopyStrings<false, false>(target, format, from, to);
	}
	target.row_count = rows;
}

//! As ArrowScalarData<TGT, SRC> with the converter that changes nothing
template <class TGT, class SRC>
void AppendNumbers(ArrowAppendData &target, const Vector &input, idx_t from, idx_t to, idx_t input_size) {
	UnifiedVectorFormat format;
	input.ToUnifiedFormat(format);
	target.AppendValidity(format, from, to);
	const auto rows = to - from;
	auto &numbers = target.GetMainBuffer();
	numbers.resize(numbers.size() + sizeof(TGT) * rows);
	auto source = UnifiedVectorFormat::GetData<SRC>(format);
	auto next = numbers.GetData<TGT>() + target.row_count;
	if (format.sel->IsSet()) {
		for (idx_t i = 0; i < rows; i++) {
			next[i] = TGT(source[format.sel->get_index_unsafe(from + i)]);
		}
	} else if (std::is_same<TGT, SRC>::value) {
		memcpy(next, source + from, sizeof(TGT) * rows);
	} else {
		for (idx_t i = 0; i < rows; i++) {
			next[i] = TGT(source[from + i]);
		}
	}
	target.row_count += rows;
}

template <class TGT, class SRC = TGT>
bool ReplaceNumbers(ArrowAppendData &column) {
	if (column.append_vector != ArrowScalarData<TGT, SRC>::Append) {
		return false;
	}
	column.append_vector = AppendNumbers<TGT, SRC>;
	return true;
}

//! The engine's appends of the types that matter, replaced by ours in a column and its children
void ReplaceAppends(ArrowAppendData &column) {
	if (column.append_vector == ArrowVarcharData<string_t, ArrowVarcharConverter, int32_t>::Append) {
		column.append_vector = AppendStrings;
	} else {
		// The first of them that it is.
		(void)(ReplaceNumbers<int8_t>(column) || ReplaceNumbers<int16_t>(column) || ReplaceNumbers<int32_t>(column) ||
		       ReplaceNumbers<int64_t>(column) || ReplaceNumbers<uint8_t>(column) || ReplaceNumbers<uint16_t>(column) ||
		       ReplaceNumbers<uint32_t>(column) || ReplaceNumbers<uint64_t>(column) || ReplaceNumbers<float>(column) ||
		       ReplaceNumbers<double>(column) || ReplaceNumbers<hugeint_t>(column) ||
		       ReplaceNumbers<hugeint_t, int16_t>(column) || ReplaceNumbers<hugeint_t, int32_t>(column) ||
		       ReplaceNumbers<hugeint_t, int64_t>(column));
	}
	for (auto &child : column.child_data) {
		ReplaceAppends(*child);
	}
}

//===--------------------------------------------------------------------===//
// One array
//===--------------------------------------------------------------------===//

//! The engine's ArrowUnit, which it takes arrays out of
class ArrayUnit : public ResultUnit {
public:
	ArrayUnit(idx_t row_count, idx_t byte_size, unique_ptr<ArrowArrayWrapper> array_p)
	    : ResultUnit(row_count, byte_size), array(std::move(array_p)) {
	}

public:
	unique_ptr<ArrowArrayWrapper> array;
};

//! Bytes of a column's buffers, and of its children's after it
void Sizes(ArrowAppendData &column, vector<idx_t> &sizes) {
	sizes.push_back(column.GetValidityBuffer().size());
	sizes.push_back(column.GetMainBuffer().size());
	sizes.push_back(column.GetAuxBuffer().size());
	for (auto &child : column.child_data) {
		Sizes(*child, sizes);
	}
}

//! Makes room in a column and its children for so many `parts` of `whole` of those sizes
void Reserve(ArrowAppendData &column, const vector<idx_t> &sizes, idx_t &next, idx_t parts, idx_t whole) {
	auto scaled = [&](idx_t size) { return size / whole * parts + size % whole * parts / whole; };
	column.GetValidityBuffer().reserve(scaled(sizes[next]));
	column.GetMainBuffer().reserve(scaled(sizes[next + 1]));
	if (auto strings = scaled(sizes[next + 2])) {
		// Their lengths vary.
		column.GetAuxBuffer().reserve(strings + strings / 16 + STEP_BYTES);
	}
	next += 3;
	for (auto &child : column.child_data) {
		Reserve(*child, sizes, next, parts, whole);
	}
}

//! A thread's arrays: the one under way, and those that wait to be handed over
class ArraysLocalState : public ResultFormatLocalState {
public:
	explicit ArraysLocalState(ArrowFormatGlobalState &gstate_p, Bounds bounds_p)
	    : gstate(gstate_p), bounds(bounds_p), properties(gstate_p.Properties()) {
	}

	void Append(DataChunk &chunk) {
		const auto count = chunk.size();
		const auto strings = StringBytes(chunk);
		for (idx_t done = 0; done < count;) {
			const auto width = MaxValue<idx_t>(Width(strings, count), 1);
			const auto limit = RowsOf(width);
			auto take = MinValue(count - done, limit > rows ? limit - rows : 0);
			if (NestedIsUnknown()) {
				take = MinValue(take, PROBE_ROWS);
			}
			if (take == 0 || (rows > 0 && bytes + take * width > bounds.bytes + bounds.bytes / 4)) {
				Seal(true);
				continue;
			}
			const bool begins = rows == 0;
			if (begins) {
				Begin(limit, count);
			}
			for (idx_t i = 0; i < columns.size(); i++) {
				columns[i]->AppendChild(chunk.data[i], done, done + take, count);
			}
			rows += take;
			done += take;
			Measure();
			if (begins && sizes_before.empty() && take == STANDARD_VECTOR_SIZE && limit > take) {
				vector<idx_t> sizes;
				SizesOfAll(sizes);
				ReserveAll(sizes, limit, take);
			}
			if (rows >= limit || bytes >= bounds.bytes + bounds.bytes / 4) {
				Seal(true);
			}
		}
	}

	bool HasSealed() const {
		return !sealed.empty();
	}

	unique_ptr<ResultUnit> Take() {
		if (sealed.empty() && rows > 0) {
			Seal(false);
		}
		if (sealed.empty()) {
			return nullptr;
		}
		auto unit = std::move(sealed.front());
		sealed.pop_front();
		return std::move(unit);
	}

private:
	static bool IsNested(const LogicalType &type) {
		return type.IsNested() && type.InternalType() != PhysicalType::INVALID;
	}

	//! Bytes of the chunk's strings that stand in columns of their own
	static idx_t StringBytes(DataChunk &chunk) {
		idx_t total = 0;
		const auto count = chunk.size();
		for (auto &vector : chunk.data) {
			if (vector.GetType().InternalType() != PhysicalType::VARCHAR) {
				continue;
			}
			UnifiedVectorFormat format;
			vector.ToUnifiedFormat(format);
			auto strings = UnifiedVectorFormat::GetData<string_t>(format);
			const bool has_nulls = format.validity.CanHaveNull();
			for (idx_t i = 0; i < count; i++) {
				auto source = format.sel->get_index(i);
				if (!has_nulls || format.validity.RowIsValid(source)) {
					total += strings[source].GetSize();
				}
			}
		}
		return total;
	}

	//! Bytes of a row of the chunk in hand; what nested values take is told by those before
	idx_t Width(idx_t strings, idx_t count) {
		if (!fixed_width.IsValid()) {
			idx_t width = 0;
			for (auto &type : gstate.Types()) {
				if (IsNested(type)) {
					has_nested = true;
				} else if (type.InternalType() == PhysicalType::VARCHAR) {
					width += sizeof(int32_t);
				} else if (type.id() == LogicalTypeId::DECIMAL) {
					width += sizeof(hugeint_t);
				} else {
					width += GetTypeIdSize(type.InternalType());
				}
			}
			fixed_width = width;
		}
		return fixed_width.GetIndex() + (strings + count - 1) / count + nested_width;
	}

	bool NestedIsUnknown() const {
		return has_nested && !nested_known;
	}

	//! Rows of an array of such rows: whole vectors, if one fits
	idx_t RowsOf(idx_t width) const {
		auto limit = bounds.bytes / width;
		if (limit >= STANDARD_VECTOR_SIZE) {
			// A fifth more at most.
			auto vectors_max = (bounds.bytes + bounds.bytes / 5) / width / STANDARD_VECTOR_SIZE;
			limit = STANDARD_VECTOR_SIZE;
			for (auto vectors : VECTORS) {
				if (vectors <= vectors_max) {
					limit = vectors * STANDARD_VECTOR_SIZE;
					break;
				}
			}
		}
		return MaxValue<idx_t>(MinValue(limit, bounds.rows), 1);
	}

	void Begin(idx_t limit, idx_t count) {
		// A small result is not given the room of a large one. What is known better than by rows is reserved below.
		const auto capacity = !sizes_before.empty() ? 1 : count < STANDARD_VECTOR_SIZE ? MinValue(count, limit) : limit;
		auto &extensions = gstate.ExtensionTypes();
		auto &types = gstate.Types();
		for (idx_t i = 0; i < types.size(); i++) {
			auto extension = extensions.find(i);
			columns.push_back(ArrowAppender::InitializeChild(types[i], capacity, properties,
			                                                 extension != extensions.end() ? extension->second : nullptr));
			ReplaceAppends(*columns.back());
		}
		if (!sizes_before.empty()) {
			ReserveAll(sizes_before, 1, 1);
		}
	}

	void SizesOfAll(vector<idx_t> &sizes) {
		for (auto &column : columns) {
			Sizes(*column, sizes);
		}
	}

	void ReserveAll(const vector<idx_t> &sizes, idx_t parts, idx_t whole) {
		idx_t next = 0;
		for (auto &column : columns) {
			Reserve(*column, sizes, next, parts, whole);
		}
	}

	//! What the array under way takes by now
	void Measure() {
		bytes = 0;
		idx_t nested = 0;
		auto &types = gstate.Types();
		for (idx_t i = 0; i < columns.size(); i++) {
			auto size = columns[i]->ByteSize();
			bytes += size;
			if (has_nested && IsNested(types[i])) {
				nested += size;
			}
		}
		if (has_nested) {
			nested_width = nested / rows;
			nested_known = true;
		}
	}

	//! Ends the array under way. `is_full`: those after it will be as large.
	void Seal(bool is_full) {
		if (is_full) {
			sizes_before.clear();
			SizesOfAll(sizes_before);
		}
		auto wrapper = make_uniq<ArrowArrayWrapper>();
		wrapper->arrow_array = Finalize();
		sealed.push_back(make_uniq<ArrayUnit>(rows, bytes, std::move(wrapper)));
		columns.clear();
		rows = 0;
		bytes = 0;
	}

	//! As ArrowAppender::Finalize
	ArrowArray Finalize() {
		auto &types = gstate.Types();
		auto root = make_uniq<ArrowAppendData>(properties);
		ArrowArray result;
		ArrowAppender::AddChildren(*root, types.size());
		result.children = root->child_pointers.data();
		result.n_children = NumericCast<int64_t>(types.size());
		result.length = NumericCast<int64_t>(rows);
		result.n_buffers = 1;
		result.buffers = root->buffers.data();
		result.offset = 0;
		result.null_count = 0;
		result.dictionary = nullptr;
		root->child_data = std::move(columns);
		for (idx_t i = 0; i < root->child_data.size(); i++) {
			root->child_arrays[i] = *ArrowAppender::FinalizeChild(types[i], std::move(root->child_data[i]));
		}
		result.private_data = root.release();
		result.release = ArrowAppender::ReleaseArray;
		return result;
	}

	ArrowFormatGlobalState &gstate;
	const Bounds bounds;
	ClientProperties properties;
	//! The array under way
	vector<unique_ptr<ArrowAppendData>> columns;
	idx_t rows = 0;
	idx_t bytes = 0;
	deque<unique_ptr<ArrayUnit>> sealed;
	//! Of the last array that was full
	vector<idx_t> sizes_before;
	//! Widths of rows
	optional_idx fixed_width;
	bool has_nested = false;
	bool nested_known = false;
	idx_t nested_width = 0;
};

//===--------------------------------------------------------------------===//
// The format
//===--------------------------------------------------------------------===//

class ArraysFormat : public ArrowFormat {
public:
	explicit ArraysFormat(Bounds bounds_p) : ArrowFormat(bounds_p.rows), bounds(bounds_p) {
	}

public:
	unique_ptr<ResultFormatLocalState> InitLocal(ResultFormatGlobalState &gstate) override {
		return make_uniq<ArraysLocalState>(gstate.Cast<ArrowFormatGlobalState>(), bounds);
	}
	void AppendToUnit(ResultFormatGlobalState &gstate, ResultFormatLocalState &lstate, DataChunk &chunk) override {
		lstate.Cast<ArraysLocalState>().Append(chunk);
	}
	bool IsUnitFinished(ResultFormatLocalState &lstate) override {
		return lstate.Cast<ArraysLocalState>().HasSealed();
	}
	unique_ptr<ResultUnit> FinishUnit(ResultFormatGlobalState &gstate, ResultFormatLocalState &lstate) override {
		return lstate.Cast<ArraysLocalState>().Take();
	}

private:
	const Bounds bounds;
};

//! What is behind a duckdb_v2_prepared_statement_handle
struct Prepared {
	shared_ptr<ClientContext> context;
	unique_ptr<PreparedStatement> prepared;
};

} // namespace

extern "C" {

//! As duckdb_v2_statement_execute_arrow
DUCKDB_V2_ERROR pintail_statement_execute(duckdb_v2_connection_handle connection,
                                          duckdb_v2_sql_statement_handle statement,
                                          const duckdb_v2_identifier_t *names, const duckdb_v2_value_handle *values,
                                          uint64_t count, uint64_t bytes, uint64_t rows,
                                          duckdb_v2_arrow_result_handle *out, duckdb_v2_error_info_handle *error) {
	using namespace duckdb::capiv2;
	return WithErrorHandler(error, [&]() {
		auto format = duckdb::make_shared_ptr<ArraysFormat>(Bounds {bytes, rows});
		*out = ConvertArrowResult(ExecuteStatementV2(Convert(connection)->context, *Convert(statement), names, values, count,
		                                             __func__, std::move(format))
		                              .release());
	});
}

//! As duckdb_v2_prepared_statement_execute_arrow
DUCKDB_V2_ERROR pintail_prepared_statement_execute(duckdb_v2_connection_handle connection,
                                                   duckdb_v2_prepared_statement_handle statement,
                                                   const duckdb_v2_identifier_t *names,
                                                   const duckdb_v2_value_handle *values, uint64_t count, uint64_t bytes,
                                                   uint64_t rows, duckdb_v2_arrow_result_handle *out,
                                                   duckdb_v2_error_info_handle *error) {
	using namespace duckdb::capiv2;
	return WithErrorHandler(error, [&]() {
		auto &prepared = *reinterpret_cast<Prepared *>(statement);
		if (prepared.context != Convert(connection)->context) {
			throw duckdb::InvalidInputException("the prepared statement is not one of this connection");
		}
		identifier_map_t<BoundParameterData> parameters;
		BuildParameterMap(names, values, count, __func__, parameters);
		auto format = duckdb::make_shared_ptr<ArraysFormat>(Bounds {bytes, rows});
		*out = ConvertArrowResult(
		    ExecutePreparedStatementV2(prepared.context, *prepared.prepared, parameters, std::move(format)).release());
	});
}

//! Whether the engine still takes an array out of a unit where we put it
bool pintail_arrays_fit() {
	auto array = make_uniq<ArrowArrayWrapper>();
	auto place = array.get();
	auto found = ArrowFormat::UnpackUnit(make_uniq<ArrayUnit>(1, 1, std::move(array)));
	return found.get() == place;
}
}
