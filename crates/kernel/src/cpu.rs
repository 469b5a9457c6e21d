//! The processor model that guests see.

/// The lines of one processor in /proc/cpuinfo, in order, as the runtime read them from the host. Lines that name the
/// processor's number or place are replaced when they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuModel {
    /// Names and values.
    pub lines: Vec<(String, String)>,
}

impl Default for CpuModel {
    fn default() -> Self {
        CpuModel::parse(
            "processor: 0\nvendor_id: GenuineIntel\ncpu family: 6\nmodel: 0\nmodel name: unknown\nstepping: 0\n\
             cpu MHz: 1000.000\ncache size: 1024 KB\nphysical id: 0\nsiblings: 1\ncore id: 0\ncpu cores: 1\napicid: 0\n\
             initial apicid: 0\nfpu: yes\nfpu_exception: yes\ncpuid level: 13\nwp: yes\n\
             flags: fpu tsc cx8 cmov fxsr sse sse2 ht syscall nx lm constant_tsc nopl cpuid\n\
             bogomips: 2000.00\nclflush size: 64\ncache_alignment: 64\naddress sizes: 46 bits physical, 48 bits virtual\n\
             power management:",
        )
    }
}

impl CpuModel {
    /// From the text of /proc/cpuinfo: its first processor.
    pub fn parse(text: &str) -> CpuModel {
        let block = text.lines().take_while(|line| !line.trim().is_empty());
        let lines = block.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim().to_string(), value.trim().to_string()))
        });
        CpuModel {
            lines: lines.collect(),
        }
    }

    /// The value of a line; empty when there is none.
    pub fn value(&self, name: &str) -> &str {
        let line = self.lines.iter().find(|(have, _)| have == name);
        line.map_or("", |(_, value)| value)
    }
}
