"""What kustomize makes of a folder, and how to look things up in it."""

import re

from .report import dig

_POD_OWNERS = {"Deployment", "StatefulSet", "Job"}


class Rendered:
    """The objects of one kustomization."""

    def __init__(self, objects):
        self.objects = list(objects)

    def all(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind, name):
        """The object of that name, or of that name with the hash that kustomize appends; an empty one if there is none."""
        pattern = re.compile(re.escape(name) + r"(-[a-z0-9]{10})?")
        found = [one for one in self.all(kind) if pattern.fullmatch(one["metadata"]["name"])]
        return found[0] if len(found) == 1 else {}

    def pods(self):
        """(object's name, its pod template)"""
        return [(f"{one['kind']} {one['metadata']['name']}", one["spec"]["template"])
                for one in self.objects if one["kind"] in _POD_OWNERS]

    def container(self, kind, name):
        """The one container of the pods of that object."""
        (found,) = dig(self.one(kind, name), "spec.template.spec.containers")
        return found


def mounts(container):
    """Where each volume is mounted."""
    return {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}


def environment(container):
    """Each variable's value, or the field that it is taken from."""
    return {one["name"]: one.get("value") or dig(one, "valueFrom.fieldRef.fieldPath") for one in container["env"]}
