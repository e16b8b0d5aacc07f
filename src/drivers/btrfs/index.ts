import { join } from 'node:path'
import { StoreError } from '../../errors.js'
import { hasCapability } from '../../sys/capabilities.js'
import { quotaEnabled } from '../../sys/btrfs-quota.js'
import { fileSystemOf } from '../../sys/file-system.js'
import { libcAvailable } from '../../sys/libc.js'
import { probe } from '../../sys/probe.js'
import type { Driver, Engine } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { keepingOf } from '../keeping.js'
import { LayerHolds } from '../layer-holds.js'
import { naiveDiff } from '../naive-diff.js'
import { VolumeDriver } from '../volume-driver.js'
import { BtrfsDriver } from './btrfs-driver.js'
import { BtrfsLayout } from './layout.js'
import { btrfsOptions } from './options.js'
import { BtrfsVolumes, holdsVolumes } from './userspace.js'

/** Docker's btrfs: every layer is a subvolume, a snapshot of its parent. */
export const btrfs: DriverFactory = {
  name: 'btrfs',

  async open(options: DriverOpenOptions): Promise<Driver> {
    const { root, readOnly, driverOptions } = options
    const { attributes, cache } = btrfsOptions(driverOptions)
    const home = join(root, 'btrfs')
    const layout = new BtrfsLayout(home)
    if ((await engineFor(options, layout)) === 'userspace') {
      if (attributes !== undefined && attributes !== 'native') throw keptAside(attributes)
      const volumes = new BtrfsVolumes({ home, readOnly, cache })
      await volumes.recover()
      const holds = new LayerHolds(join(root, 'layerstack', 'holds', 'btrfs'))
      return naiveDiff(new VolumeDriver({ name: 'btrfs', volumes, holds, readOnly }))
    }
    if (!readOnly) await layout.make()
    const keeping = await keepingOf({
      root,
      driver: 'btrfs',
      holdsLayers: layout.list().length > 0,
      probe: readOnly ? undefined : probe(layout.home),
      wanted: attributes,
      overlay: false,
    })
    if (!readOnly) await layout.emptyTrash()
    const privileged = hasCapability('CAP_SYS_ADMIN')
    const quota = privileged && quotaEnabled(root)
    return naiveDiff(new BtrfsDriver({ root, layout, keeping, readOnly, searches: privileged, quota }))
  },

  async holdsLayers(root: string): Promise<boolean> {
    const home = join(root, 'btrfs')
    return new BtrfsLayout(home).list().length > 0 || (await holdsVolumes(home))
  },

  async supported(root: string): Promise<DriverSupport> {
    const reason = whyNot(root)
    return {
      engines: [
        { engine: 'kernel', works: reason === undefined, reason },
        { engine: 'userspace', works: true },
      ],
    }
  },
}

/** The one that made the layers of this root; in a new root the kernel's, where it works. */
async function engineFor({ root, engine }: DriverOpenOptions, layout: BtrfsLayout): Promise<Engine> {
  const made = (await holdsVolumes(join(root, 'btrfs')))
    ? 'userspace'
    : layout.list().length > 0
      ? 'kernel'
      : undefined
  const reason = whyNot(root)
  const chosen = engine === 'auto' ? (made ?? (reason === undefined ? 'kernel' : 'userspace')) : engine
  if (made !== undefined && chosen !== made) {
    throw new StoreError('ENGINE_UNSUPPORTED', `the layers of this root were made by the ${made} engine`, {
      hint: `open it with engine '${made}', or make a new root`,
    })
  }
  if (chosen === 'kernel' && reason !== undefined) {
    throw new StoreError('ENGINE_UNSUPPORTED', reason, {
      hint: "put the root on a btrfs file system, or use engine 'userspace'",
    })
  }
  return chosen
}

function keptAside(attributes: string): StoreError {
  return new StoreError('ENGINE_UNSUPPORTED', `the userspace engine keeps no attributes as '${attributes}'`, {
    hint: 'leave the option out: its layers have inodes of their own',
  })
}

function whyNot(root: string): string | undefined {
  const libc = libcAvailable()
  if (!libc.works) return `btrfs is driven by system calls (${libc.reason})`
  const { name } = fileSystemOf(root)
  return name === 'btrfs' ? undefined : `the root is on ${name}, and btrfs keeps its layers on btrfs alone`
}
