//! How RocksDB is set up.

use kontiki_storage::Family;
use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType,
    DBRecoveryMode, LruCacheOptions, WriteBufferManager,
};

use crate::options::Options;

/// For the whole store. Statistics are counted in the returned options.
pub fn database(options: &Options) -> rocksdb::Options {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_paranoid_checks(true);
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    db.set_manual_wal_flush(true);
    // A file that is used again may end in old records: a torn tail couldn't be told from them.
    db.set_recycle_log_file_num(0);
    db.set_max_total_wal_size(options.wal_bytes_max);
    let jobs = i32::try_from(options.max_background_jobs).expect("validated");
    db.set_max_background_jobs(jobs);
    db.set_max_open_files(i32::try_from(options.open_files_max).expect("validated"));
    db.set_max_file_opening_threads(1);
    db.set_bytes_per_sync(options.bytes_per_sync);
    // No stalls: it is a target, and the buffers of one family are flushed when it is reached.
    let manager = WriteBufferManager::new_write_buffer_manager(options.write_buffers_bytes, false);
    db.set_write_buffer_manager(&manager);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(4 << 20);
    db.set_stats_dump_period_sec(0);
    db.set_stats_persist_period_sec(0);
    db.enable_statistics();
    db.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    db
}

/// Blocks that were read, of both families. It has few parts, each with a lock of its own: one that
/// is smaller than a block can't keep it.
pub fn cache(options: &Options) -> Cache {
    let mut cache = LruCacheOptions::default();
    cache.set_capacity(options.block_cache_bytes);
    cache.set_num_shard_bits(3);
    Cache::new_lru_cache_opts(&cache)
}

/// Both families.
pub fn families(options: &Options, cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    let family = |f: Family| ColumnFamilyDescriptor::new(f.name(), family(f, options, cache));
    Family::ALL.into_iter().map(family).collect()
}

fn family(family: Family, options: &Options, cache: &Cache) -> rocksdb::Options {
    let mut cf = rocksdb::Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In one piece, the filter of a file of a million rows is larger than a part of the cache: it
    // would be read anew, and its checksum computed, for every row that is looked up.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4 << 10);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(5);
    cf.set_compression_type(DBCompressionType::Lz4);
    cf.set_level_compaction_dynamic_level_bytes(true);
    cf.set_max_write_buffer_number(3);
    match family {
        // Keys of a shard come in order and leave from the front: levels hardly overlap, and
        // few of them let the tombstones of ranges reach the bottom, where they end.
        Family::Log => {
            cf.set_write_buffer_size(options.log_write_buffer_bytes);
            cf.set_num_levels(3);
            cf.set_max_bytes_for_level_multiplier(20.0);
            cf.add_compact_on_deletion_collector_factory(4096, 2048, 0.5);
            cf.set_ttl(3600);
            table.set_block_size(32 << 10);
        }
        Family::State => {
            cf.set_write_buffer_size(options.state_write_buffer_bytes);
            cf.add_compact_on_deletion_collector_factory(4096, 2048, 0.5);
            table.set_block_size(8 << 10);
            // What is flushed lives for a short time: a filter that is made faster is enough.
            table.set_hybrid_ribbon_filter(10.0, 2);
            table.set_whole_key_filtering(true);
            table.set_optimize_filters_for_memory(true);
        }
    }
    cf.set_block_based_table_factory(&table);
    cf
}
