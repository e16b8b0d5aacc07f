/** @module-tag unit */
import { describe, expect, it } from 'vitest'
import { applyChanges } from '#layerstack/images/config-change.js'
import type { ContainerConfig } from '#layerstack/images/image-config.js'

const before: ContainerConfig = {
  Env: ['PATH=/bin', 'A=1'],
  WorkingDir: '/srv',
  Labels: { kept: 'yes' },
  ExposedPorts: { '80/tcp': {} },
}

/** As `docker commit --change` edits a config. */
const good: readonly [change: string, after: ContainerConfig][] = [
  ['CMD ["/bin/sh", "-c", "ls"]', { Cmd: ['/bin/sh', '-c', 'ls'] }],
  ['cmd ls -l', { Cmd: ['/bin/sh', '-c', 'ls -l'] }],
  ['ENTRYPOINT ["/init"]', { Entrypoint: ['/init'] }],
  ['ENTRYPOINT exec top', { Entrypoint: ['/bin/sh', '-c', 'exec top'] }],
  ['ENV A=2', { Env: ['PATH=/bin', 'A=2'] }],
  ['ENV B=2 C="a b" D=\'$x\'', { Env: ['PATH=/bin', 'A=1', 'B=2', 'C=a b', 'D=$x'] }],
  ['ENV OLD form with spaces', { Env: ['PATH=/bin', 'A=1', 'OLD=form with spaces'] }],
  ['ENV EMPTY=', { Env: ['PATH=/bin', 'A=1', 'EMPTY='] }],
  ['EXPOSE 8080', { ExposedPorts: { '80/tcp': {}, '8080/tcp': {} } }],
  ['EXPOSE 53/udp 7000-7001/tcp', { ExposedPorts: { '80/tcp': {}, '53/udp': {}, '7000-7001/tcp': {} } }],
  ['LABEL a=b "c d"=e', { Labels: { kept: 'yes', a: 'b', 'c d': 'e' } }],
  ['USER 1000:1000', { User: '1000:1000' }],
  ['VOLUME /data /more', { Volumes: { '/data': {}, '/more': {} } }],
  ['VOLUME ["/with space"]', { Volumes: { '/with space': {} } }],
  ['WORKDIR /app', { WorkingDir: '/app' }],
  ['WORKDIR app', { WorkingDir: '/srv/app' }],
  ['STOPSIGNAL SIGINT', { StopSignal: 'SIGINT' }],
  ['ONBUILD RUN make', { OnBuild: ['RUN make'] }],
]

describe('applyChanges', () => {
  it.each(good)('applies %s', (change, after) => {
    expect(applyChanges(before, [change])).toEqual({ ...before, ...after })
  })

  it.each([
    '',
    'RUN ls',
    'FROM scratch',
    'ENV',
    'ENV A',
    'EXPOSE http',
    'EXPOSE 99999999',
    'CMD',
    'COPY a b',
  ])('refuses %j', (change) => {
    expect(() => applyChanges(before, [change])).toThrow(expect.objectContaining({ code: 'CHANGE_INVALID' }))
  })

  it('applies changes in order, and does not modify its input', () => {
    const after = applyChanges(before, ['WORKDIR /a', 'WORKDIR b', 'ENV A=2', 'ENV A=3'])
    expect(after).toMatchObject({ WorkingDir: '/a/b', Env: ['PATH=/bin', 'A=3'] })
    expect(before.Env).toEqual(['PATH=/bin', 'A=1'])
  })
})
