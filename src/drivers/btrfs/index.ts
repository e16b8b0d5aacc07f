import { join } from 'node:path'
import { StoreError } from '../../errors.js'
import { hasCapability } from '../../sys/capabilities.js'
import { quotaEnabled } from '../../sys/btrfs-quota.js'
import { fileSystemOf } from '../../sys/file-system.js'
import { libcAvailable } from '../../sys/libc.js'
import { probe } from '../../sys/probe.js'
import type { Driver } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { keepingOf } from '../keeping.js'
import { naiveDiff } from '../naive-diff.js'
import { BtrfsDriver } from './btrfs-driver.js'
import { BtrfsLayout } from './layout.js'
import { btrfsOptions } from './options.js'

const NO_USERSPACE = 'btrfs has no userspace engine'

/** Docker's btrfs: every layer is a subvolume, a snapshot of its parent. */
export const btrfs: DriverFactory = {
  name: 'btrfs',

  async open({ root, engine, readOnly, driverOptions }: DriverOpenOptions): Promise<Driver> {
    const { attributes } = btrfsOptions(driverOptions)
    const reason = engine === 'userspace' ? NO_USERSPACE : whyNot(root)
    if (reason !== undefined) {
      throw new StoreError('ENGINE_UNSUPPORTED', reason, {
        hint: 'put the root on a btrfs file system, or use another driver',
      })
    }
    const layout = new BtrfsLayout(join(root, 'btrfs'))
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
    return new BtrfsLayout(join(root, 'btrfs')).list().length > 0
  },

  async supported(root: string): Promise<DriverSupport> {
    const reason = whyNot(root)
    return {
      engines: [
        { engine: 'kernel', works: reason === undefined, reason },
        { engine: 'userspace', works: false, reason: NO_USERSPACE },
      ],
    }
  },
}

function whyNot(root: string): string | undefined {
  const libc = libcAvailable()
  if (!libc.works) return `btrfs is driven by system calls (${libc.reason})`
  const { name } = fileSystemOf(root)
  return name === 'btrfs' ? undefined : `the root is on ${name}, and btrfs keeps its layers on btrfs alone`
}
